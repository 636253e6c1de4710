// Pictures fetched and decoded before they are needed.

import { checkNotRefused, pause } from "./network.js";
import { giveUp, notice, words } from "./page.js";

const loading = new Map(); // address → promise of a decoded <img>

export function preload(address) {
  if (!loading.has(address)) loading.set(address, load(address));
  return loading.get(address);
}

export function preloadAll(trials) {
  // Who has been refused a later picture learns it now: no answer given meanwhile would be taken.
  for (const trial of trials) for (const address of Object.values(trial.pictures)) preload(address).catch(giveUp);
}

export function drop(trial) {
  for (const address of Object.values(trial.pictures)) loading.delete(address);
}

async function load(address) {
  for (let attempt = 0; ; attempt++) {
    const image = new Image();
    image.alt = "";
    image.draggable = false;
    image.decoding = "sync"; // never painted a frame after what surrounds it
    image.src = address;
    try {
      await image.decode();
      return image;
    } catch {
      await checkNotRefused(address);
      notice(words.picture_lost);
      await pause(attempt);
    }
  }
}
