// The check of the screen: measures it, says in words of the page whether it suits the study, and how to mend it.
// The server checks the same values again when the form is sent.

import { FrameClock } from "./frames.js";

const form = document.querySelector("#screen");
const $ = (id) => document.getElementById(id);
const GAMUTS = ["none", "srgb", "p3", "rec2020"]; // each holds those before it
const NOTICED = 1.05; // a zoom worth speaking of

const clock = new FrameClock();

const matches = (feature) => matchMedia(`(${feature})`).matches;
const rounded = (x) => Math.round(x * 1000) / 1000;

function browserFamily() {
  const name = navigator.userAgent;
  if (/Firefox\//.test(name)) return "firefox";
  if (/Chrom(e|ium)\//.test(name)) return "chromium";
  return /Safari\//.test(name) ? "safari" : "other";
}

function measured() {
  const pointer = matches("pointer: fine") ? "fine" : matches("pointer: coarse") ? "coarse" : "none";
  const gamut = GAMUTS.findLast((one) => matches(`color-gamut: ${one}`)) ?? "none";
  // The frame of a window is a few pixels; what is more comes of the zoom. On touch screens both are the same.
  const zoom = outerWidth > 0 ? rounded(outerWidth / innerWidth) : null;
  return {
    width_px: innerWidth,
    height_px: innerHeight,
    screen_width_px: screen.width,
    screen_height_px: screen.height,
    device_pixel_ratio: rounded(devicePixelRatio),
    viewport_scale: rounded(visualViewport?.scale ?? 1),
    zoom: pointer === "coarse" ? null : zoom,
    frame_interval_ms: clock.measured && rounded(clock.measured),
    gamut,
    colour_bits: screen.colorDepth,
    prefers_dark: matches("prefers-color-scheme: dark"),
    forced_colours: matches("forced-colors: active"),
    reduced_motion: matches("prefers-reduced-motion: reduce"),
    pointer,
    browser: browserFamily(),
  };
}

// What makes room for so many pixels, of the advice on the page; nothing where the screen has too few.
function roomier(now, width, height) {
  const isTouch = now.pointer === "coarse";
  const found = [];
  if (isTouch && now.height_px >= width && now.width_px >= height) found.push("turn");
  if (now.viewport_scale > NOTICED || now.zoom > NOTICED) found.push("zoom");
  if (now.screen_width_px >= width && now.screen_height_px >= height) {
    if (!isTouch && (now.width_px < now.screen_width_px * 0.9 || now.height_px < now.screen_height_px * 0.7))
      found.push("enlarge");
    found.push("close");
  }
  return found;
}

// The verdict's word, of the form's data, and the advice that goes with it.
function judged(now) {
  const width = Number(form.dataset.width);
  const height = Number(form.dataset.height);
  if (now.width_px < width || now.height_px < height) {
    const advice = roomier(now, width, height);
    return { verdict: advice.length > 0 ? "small" : "tiny", advice };
  }
  const wanted = form.dataset.gamut; // "any" stands in no list, so every screen will do
  return GAMUTS.indexOf(now.gamut) < GAMUTS.indexOf(wanted) ? { verdict: "dull", advice: ["gamut"] } : { verdict: "enough", advice: [] };
}

function show() {
  const now = measured();
  const { verdict, advice } = judged(now);
  const isEnough = verdict === "enough";
  const number = new Intl.NumberFormat(document.documentElement.lang);
  $("window").textContent = $("window")
    .dataset.words.replace("{width}", number.format(now.width_px))
    .replace("{height}", number.format(now.height_px));
  const rate = now.frame_interval_ms ? number.format(Math.round(1000 / now.frame_interval_ms)) : "?";
  $("rate").textContent = $("rate").dataset.words.replace("{rate}", rate);
  $("gamut").textContent = $("gamut").dataset[now.gamut];
  for (const item of document.querySelectorAll("[data-advice]")) item.hidden = !advice.includes(item.dataset.advice);
  // Only a verdict that changed is read out.
  if ($("verdict").textContent !== form.dataset[verdict]) $("verdict").textContent = form.dataset[verdict];
  $("verdict").classList.toggle("wrong", !isEnough);
  $("help").hidden = advice.length === 0;
  $("mend").hidden = isEnough;
  $("ready").hidden = !isEnough;
  form.elements.measured.value = JSON.stringify(now);
}

async function check() {
  $("verdict").textContent = form.dataset.measuring;
  await clock.measure();
  show();
}

form.hidden = false;
await check();
addEventListener("resize", show);
$("again").addEventListener("click", check);
form.addEventListener("submit", show);
