// The consent form appears only where scripts run, since nobody could go on without them, and is sent once.

const form = document.querySelector("form");
const button = form.querySelector("button");
form.hidden = false;
form.addEventListener("submit", () => (button.disabled = true));
// Back on this page from the browser's cache: the button works again.
addEventListener("pageshow", () => (button.disabled = false));
