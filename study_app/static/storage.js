// What must outlive the page, by study and session; where the browser keeps nothing, it lives as long as the page.

import { settings } from "./page.js";

const memory = new Map();
const keyOf = (name) => `realism/${settings.study}/${settings.session}/${name}`;

export function keep(name, value) {
  try {
    localStorage.setItem(keyOf(name), JSON.stringify(value));
  } catch {
    memory.set(keyOf(name), JSON.stringify(value));
  }
}

export function recall(name) {
  try {
    return JSON.parse(localStorage.getItem(keyOf(name)) ?? memory.get(keyOf(name)) ?? "null");
  } catch {
    return JSON.parse(memory.get(keyOf(name)) ?? "null");
  }
}

export function forget(name) {
  memory.delete(keyOf(name));
  try {
    localStorage.removeItem(keyOf(name));
  } catch {
    // nothing was kept there
  }
}
