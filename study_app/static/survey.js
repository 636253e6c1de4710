// The participant's page: fetches a trial, shows its two pictures, sends the answer, and waits until it is stored.
// It never knows which picture is real: the server tells only after the answer, and only in practice.

import { FrameClock } from "./frames.js";

const page = document.querySelector("#survey");
const $ = (id) => document.getElementById(id);
const SIDES = ["left", "right"];
const KEYS = { ArrowLeft: "left", ArrowRight: "right" };
const WORDS = { real: "real photograph", fake: "fake" };
const FIXATION_MS = 400;
const RETRY_MS = [500, 1000, 2000, 4000, 8000];

const clock = new FrameClock();
const pictures = new Map(); // address → promise of a decoded <img>

function show(id) {
  for (const section of page.querySelectorAll("section")) section.hidden = section.id !== id;
}

function notice(text) {
  $("notice").textContent = text ?? "";
  $("notice").hidden = !text;
}

const wait = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

function pressed(button) {
  button.hidden = false;
  button.focus();
  return new Promise((resolve) => button.addEventListener("click", resolve, { once: true }));
}

// A request that is repeated until the server has answered it. A refusal is final.
async function request(address, options) {
  for (let attempt = 0; ; attempt++) {
    try {
      const reply = await fetch(address, { credentials: "same-origin", cache: "no-store", ...options });
      if (reply.ok) {
        notice(null);
        return await reply.json();
      }
      if (reply.status < 500 && reply.status !== 429) throw new Refused(reply.status);
    } catch (error) {
      if (error instanceof Refused) throw error;
    }
    notice("No connection to the server. Your answers are safe; we keep trying.");
    await wait(RETRY_MS[Math.min(attempt, RETRY_MS.length - 1)]);
  }
}

class Refused extends Error {}

// Decoded before it is shown, so that showing it takes one frame.
function preload(address) {
  if (!pictures.has(address)) {
    const load = async () => {
      for (let attempt = 0; ; attempt++) {
        const image = new Image();
        image.alt = "";
        image.draggable = false;
        image.src = address;
        try {
          await image.decode();
          return image;
        } catch {
          notice("A picture could not be loaded. We keep trying.");
          await wait(RETRY_MS[Math.min(attempt, RETRY_MS.length - 1)]);
        }
      }
    };
    pictures.set(address, load());
  }
  return pictures.get(address);
}

function progress({ answered, total }) {
  $("progress-text").textContent = `${Math.min(answered + 1, total)} of ${total}`;
  $("progress").max = total;
  $("progress").value = answered;
}

function clearStage() {
  for (const side of SIDES) {
    const button = $(side);
    button.replaceChildren();
    button.className = "picture waiting";
    button.disabled = true;
    button.dataset.side = side;
    button.parentElement.querySelector("figcaption").textContent = "";
  }
  $("feedback").textContent = "";
  $("feedback").className = "";
  $("continue").hidden = true;
}

function showPictures(images) {
  for (const side of SIDES) {
    $(side).className = "picture";
    $(side).replaceChildren(images[side]);
  }
}

function hidePictures() {
  for (const side of SIDES) {
    $(side).className = "picture gone";
    $(side).replaceChildren();
  }
}

// Resolves with the side chosen by click, touch or key, and its time on the page's clock.
function choice() {
  return new Promise((resolve) => {
    const listeners = new AbortController();
    const choose = (side, event) => {
      event.preventDefault();
      listeners.abort();
      resolve({ side, at: performance.now() });
    };
    for (const side of SIDES) {
      $(side).disabled = false;
      $(side).addEventListener("click", (event) => choose(side, event), { signal: listeners.signal });
    }
    document.addEventListener(
      "keydown",
      (event) => {
        if (KEYS[event.key] && !event.repeat && !event.ctrlKey && !event.altKey && !event.metaKey)
          choose(KEYS[event.key], event);
      },
      { signal: listeners.signal },
    );
  });
}

async function runTrial(trial) {
  clearStage();
  show("trial");
  const [images] = await Promise.all([decoded(trial), wait(FIXATION_MS)]);
  notice(null);

  const exposure = await clock.expose(() => showPictures(images), trial.exposure_ms && hidePictures, trial.exposure_ms);
  const chosen = await choice();
  for (const side of SIDES) $(side).disabled = true;

  const rt = Math.max(0, Math.round(chosen.at - exposure.onset));
  const measured = trial.exposure_ms ? exposure.measured_ms : chosen.at - exposure.onset;
  const answer = {
    trial_index: trial.trial_index,
    response: chosen.side,
    rt,
    exposure_measured_ms: Math.round(measured * 10) / 10,
    late_frames: exposure.late_frames,
  };
  const stored = await send(answer, exposure.onset);
  if (stored.feedback) await tell(stored.feedback, images);
  return stored.next;
}

async function decoded(trial) {
  const images = await Promise.all(SIDES.map((side) => preload(trial[side])));
  // As many CSS pixels as the picture has, or the 256 of the published protocols, where the screen has room.
  document.documentElement.style.setProperty("--picture", `${Math.max(256, images[0].naturalWidth)}px`);
  return Object.fromEntries(SIDES.map((side, i) => [side, images[i]]));
}

function send(answer, onset) {
  // The time since onset is taken anew at each attempt: the server reckons the moment of the answer back from it.
  const options = {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    get body() {
      return JSON.stringify({ ...answer, elapsed_ms: performance.now() - onset });
    },
  };
  return request(page.dataset.answer, options);
}

async function tell({ correct, real }, images) {
  showPictures(images);
  for (const side of SIDES)
    $(side).parentElement.querySelector("figcaption").textContent = side === real ? "real photograph" : "fake";
  const asked = page.dataset.question;
  const where = (asked === "real") === (real === "left") ? "left" : "right";
  $("feedback").className = correct ? "correct" : "wrong";
  $("feedback").textContent = correct ? "Correct." : `Not this time: the ${WORDS[asked]} was on the ${where}.`;
  await pressed($("continue"));
}

async function main() {
  let state = await request(page.dataset.next);
  if (!state.done) {
    const screen = state.progress.answered === 0 ? "instructions" : "back";
    show(screen);
    preloadAll(state);
    await Promise.all([pressed(document.querySelector(`#${screen} button`)), clock.measure()]);
  }
  while (!state.done) {
    const { answered, practice } = state.progress;
    if (practice > 0 && answered === practice) {
      show("turn");
      await pressed($("go-on"));
    }
    progress(state.progress);
    preloadAll(state);
    const next = await runTrial(state.trial);
    for (const side of SIDES) pictures.delete(state.trial[side]);
    state = next;
  }
  location.replace(page.dataset.done);
}

function preloadAll({ trial, upcoming }) {
  for (const one of [trial, ...upcoming]) for (const side of SIDES) preload(one[side]);
}

main().catch((error) => {
  if (!(error instanceof Refused)) console.error(error);
  notice("This page is out of step with the server, perhaps because the study is open in another tab. Please reload it.");
});
