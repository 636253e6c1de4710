// Takes the participant back to the service that sent them, once, unless they choose to stay.

const way = document.querySelector("#way-on[data-seconds]");
const leaving = document.querySelector("#leaving");
if (way && !history.state?.left) {
  const timer = setTimeout(() => {
    history.replaceState({ left: true }, ""); // who comes back to this page is not sent away again
    location.assign(way.href);
  }, way.dataset.seconds * 1000);
  leaving.hidden = false;
  leaving.querySelector("button").addEventListener("click", () => {
    clearTimeout(timer);
    leaving.hidden = true;
    way.focus();
  });
}
