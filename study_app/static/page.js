// The page's screens, of which one is shown at a time, and what it says: all words come with the page, in its language.

const page = document.querySelector("#survey");

export const $ = (id) => document.getElementById(id);
export const settings = page.dataset;
export const words = JSON.parse($("words").textContent);

export function show(id) {
  for (const screen of page.querySelectorAll("section")) screen.hidden = screen.id !== id;
}

// Resolves when the button, which has the focus from now on, is pressed.
export function pressed(button) {
  button.hidden = false;
  button.focus();
  return new Promise((resolve) => button.addEventListener("click", resolve, { once: true }));
}

let givenUp = false;

// A line about trouble, or none.
export function notice(text) {
  if (givenUp) return;
  $("notice").textContent = text ?? "";
  $("notice").hidden = !text;
}

// The page goes no further: it says so, and nothing that is still under way takes that back.
export function giveUp() {
  notice(words.broken);
  givenUp = true;
}

// For those who hear the page; in a task of its own, so that it costs the frame nothing.
export function say(text) {
  setTimeout(() => ($("said").textContent = text));
}

export const fill = (text, values) => text.replace(/\{(\w+)\}/g, (_, name) => values[name]);
