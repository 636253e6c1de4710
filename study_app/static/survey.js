// The participant's page: fetches a trial, shows it, sends the answer, and goes on when it is stored.
// It never knows which picture is real: the server tells only after the answer, and only in practice.

import { FrameClock } from "./frames.js";
import { Refused, request } from "./network.js";
import { send, sendWaiting } from "./outbox.js";
import { drop, preloadAll } from "./pictures.js";
import { $, fill, giveUp, pressed, settings, show, words } from "./page.js";
import { runTrial, uncover } from "./trial.js";

const clock = new FrameClock();

// A screen with a button; while it is read, the refresh interval is measured, for the window may have been moved.
async function pauseAt(id) {
  show(id);
  await Promise.all([pressed(document.querySelector(`#${id} button`)), clock.measure()]);
}

function showProgress({ answered, total }) {
  $("progress-text").textContent = fill(words.progress, { number: answered + 1, total });
  $("progress").max = total;
  $("progress").value = answered;
}

async function tell({ correct, real }, trial) {
  uncover(trial, words.captions[real]);
  $("feedback").className = correct ? "correct" : "wrong";
  $("feedback").textContent = correct ? words.correct : words.wrong[real];
  await pressed($("continue"));
  $("continue").hidden = true;
}

async function main() {
  const late = await sendWaiting();
  let state = late?.next ?? (await request(settings.next));
  let fresh = true; // the pauses of the way were had before a reload, all but the turn, which says something new
  while (!state.done) {
    const { trial, upcoming, progress } = state;
    preloadAll([trial, ...upcoming]);
    if (fresh) await pauseAt(progress.answered === 0 ? "ready" : "back");
    if (progress.practice > 0 && progress.answered === progress.practice) await pauseAt("turn");
    else if (state.rest && !fresh) await pauseAt("rest");
    fresh = false;
    showProgress(progress);
    const { answer, onset } = await runTrial(trial, clock);
    const stored = await send(answer, onset);
    if (stored?.feedback) await tell(stored.feedback, trial);
    drop(trial);
    state = stored?.next ?? (await request(settings.next));
  }
  location.replace(settings.on);
}

main().catch((error) => {
  if (!(error instanceof Refused)) console.error(error);
  giveUp();
});
