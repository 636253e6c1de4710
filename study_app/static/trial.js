// One trial on the stage: a trial as the server describes it in, the answer and what was measured out.

import { choiceOf } from "./choice.js";
import { drawMasks } from "./masks.js";
import { preload } from "./pictures.js";
import { $, notice, pressed, say, settings, show, words } from "./page.js";
import { keep, recall } from "./storage.js";

// The places that are filled at the same time, one group after the other.
const GROUPS = { side_by_side: [["left", "right"]], sequential: [["first"], ["second"]], single: [["picture"]] }[settings.layout];
const FIXATION_MS = Number(settings.fixation);
const BETWEEN_MS = Number(settings.between);
const MASK_MS = Number(settings.mask);
const MASKS = Number(settings.masks);
const SMALLEST_PX = 256; // of the published protocols; in CSS pixels, like the pictures' own size
const DAY_MS = 24 * 3_600_000; // longer times are no measurements, and the server takes none
const PATIENCE_MS = 1500;

const stage = $("stage");
const buttons = [...document.querySelectorAll("[data-response]")]; // the left one first
const frames = Object.fromEntries([...stage.querySelectorAll("[data-place]")].map((one) => [one.dataset.place, one]));
const stillness = matchMedia("(prefers-reduced-motion: reduce)");

// When the page was out of sight or had not the focus, on the page's clock.
const lost = [];
addEventListener("blur", () => lost.push(performance.now()));
document.addEventListener("visibilitychange", () => document.hidden && lost.push(performance.now()));

// Resolves with { answer, onset }: what the server stores, and the onset on the page's clock.
export async function runTrial(trial, clock) {
  lookLike("waiting");
  say("");
  show("trial");
  $("prompt").focus({ preventScroll: true });
  const { images, masks, width_px } = await prepare(trial, clock);
  const choice = {};
  const steps = [...plan(trial, clock, images, masks, choice)];
  const played = await clock.play(steps);
  reveal([]);
  choice.button.classList.add("chosen");
  lookLike("answered");

  const shown = played.filter((_, i) => steps[i].pictures);
  const [first, last] = [shown[0], shown.at(-1)];
  const whole = (ms) => Math.round(Math.min(Math.max(ms, 0), DAY_MS));
  const tenths = (ms) => Math.round(Math.min(ms, DAY_MS) * 10) / 10;
  const answer = {
    trial_index: trial.trial_index,
    response: choice.button.dataset.response,
    rt: whole(choice.at - last.start),
    exposure_measured_ms: tenths(first.measured_ms),
    exposure_second_measured_ms: shown.length > 1 ? tenths(last.measured_ms) : null,
    picture_width_px: Math.round(width_px * 10) / 10 || null, // a window may have no room at all
    late_frames: trial.exposure_ms ? shown.reduce((sum, one) => sum + one.late_frames, 0) : null,
    frame_interval_ms: clock.measured && Math.round(clock.measured * 1000) / 1000,
    focus_lost: lost.some((at) => at >= first.start && at <= last.start + last.measured_ms),
    presentations: recall("shown")?.times ?? 1,
    input_method: choice.method,
  };
  return { answer, onset: last.start };
}

// Shows the pictures once more, all at once, each with what it was.
export function uncover(trial, captions) {
  lookLike("told");
  reveal([...stage.querySelectorAll("img")]);
  for (const place of Object.keys(trial.pictures)) captionOf(place).textContent = captions[place];
}

// Pictures and masks lie on the stage, unseen, before the trial begins: nothing is decoded, drawn or moved at onset.
async function prepare(trial, clock) {
  const places = Object.keys(trial.pictures);
  const impatience = setTimeout(() => notice(words.loading), PATIENCE_MS);
  const images = await Promise.all(places.map((place) => preload(trial.pictures[place])));
  clearTimeout(impatience);
  notice(null);
  const { naturalWidth, naturalHeight } = images[0];
  stage.style.setProperty("--width", Math.max(SMALLEST_PX, naturalWidth));
  stage.style.setProperty("--aspect", naturalWidth / naturalHeight);
  const patterns = !trial.exposure_ms || !MASK_MS ? 0 : stillness.matches ? 1 : clock.share(MASK_MS, MASKS).length;
  const masks = {};
  places.forEach((place, i) => {
    const frame = frames[place];
    masks[place] = drawMasks(patterns, frame.clientWidth, frame.clientHeight);
    frame.replaceChildren(images[i], ...masks[place]);
    captionOf(place).textContent = "";
  });
  for (const button of buttons) button.classList.remove("chosen");
  await Promise.all(images.map((image) => image.decode().catch(() => {}))); // in case the browser has let it go meanwhile
  const width_px = frames[places[0]].getBoundingClientRect().width; // both places are alike
  return { images: Object.fromEntries(places.map((place, i) => [place, images[i]])), masks, width_px };
}

// The steps of a trial, for FrameClock.play; the last fills in the choice.
function* plan(trial, clock, images, masks, choice) {
  const timed = trial.exposure_ms !== null;
  const choose = async (open) => Object.assign(choice, await choiceOf(buttons, open));
  if (FIXATION_MS) yield { draw: () => reveal([$("cross")]), ms: FIXATION_MS };
  for (const [i, places] of GROUPS.entries()) {
    const isLast = i === GROUPS.length - 1;
    const draw = () => {
      reveal(places.map((place) => images[place]));
      if (i === 0) setTimeout(countPresentation, 0, trial);
      if (!document.hasFocus()) lost.push(performance.now());
      if (!timed && isLast) lookLike("open");
      say(words.shown[i]);
    };
    if (timed) yield { draw, ms: trial.exposure_ms, pictures: true };
    else if (isLast) yield { draw, until: choose, pictures: true };
    else yield { draw, until: () => pressed($("show-second")).finally(() => ($("show-second").hidden = true)), pictures: true };
    const patterns = masks[places[0]];
    for (const [k, ms] of patterns.length ? clock.share(MASK_MS, patterns.length).entries() : [])
      yield { draw: () => reveal(places.map((place) => masks[place][k])), ms };
    if (!isLast && BETWEEN_MS) yield { draw: () => reveal([]), ms: BETWEEN_MS };
  }
  if (timed) {
    const draw = () => {
      reveal([]);
      lookLike("open");
      say(words.choose);
    };
    yield { draw, until: choose };
  }
}

// Of all that lies on the stage, these are seen.
function reveal(elements) {
  for (const element of stage.querySelectorAll(".seen")) element.classList.remove("seen");
  for (const element of elements) element.classList.add("seen");
}

// waiting: for the choice to open; open; answered; told.
function lookLike(state) {
  $("trial").dataset.state = state;
  if (state !== "told") $("feedback").textContent = "";
}

const captionOf = (place) => frames[place].parentElement.querySelector("figcaption");

// A reload shows a trial again; how often it was seen is told with its answer.
function countPresentation(trial) {
  const before = recall("shown");
  const times = before?.trial_index === trial.trial_index ? before.times : 0;
  keep("shown", { trial_index: trial.trial_index, times: times + 1 });
}
