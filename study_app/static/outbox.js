// An answer on its way to the server: kept on the device until the server has acknowledged it, also across a reload.

import { Refused, request } from "./network.js";
import { settings } from "./page.js";
import { forget, keep, recall } from "./storage.js";

const LONGEST_MS = 72 * 3_600_000; // what the server takes for the time since onset
const UNREADABLE = 400;
const OUT_OF_STEP = 409;

// The server's reply to an answer; null if it is out of step, as when another tab was faster. onset: on the page's clock.
export async function send(answer, onset) {
  // Of two tabs that wait for the network with the same trial, the first counts; a tab that is behind has nothing of use.
  if (!(waiting()?.answer.trial_index >= answer.trial_index))
    keep("answer", { answer, onset_at: Date.now() - (performance.now() - onset) });
  return await deliver(answer, () => performance.now() - onset);
}

// The reply to an answer that an earlier visit could not send; null if there is none, or the server has no use for it.
export async function sendWaiting() {
  const left = waiting();
  if (!left) return null;
  try {
    return await deliver(left.answer, () => Date.now() - left.onset_at);
  } catch (error) {
    if (error instanceof Refused) return null;
    throw error;
  }
}

function waiting() {
  const left = recall("answer");
  return Number.isInteger(left?.answer?.trial_index) ? left : null;
}

async function deliver(answer, elapsed) {
  const warn = (event) => event.preventDefault();
  const settled = () => waiting()?.answer.trial_index === answer.trial_index && forget("answer");
  addEventListener("beforeunload", warn);
  try {
    const reply = await request(settings.answer, () => ({ ...answer, elapsed_ms: within(answer.rt, elapsed()) }));
    settled();
    return reply;
  } catch (error) {
    if (error.status === UNREADABLE || error.status === OUT_OF_STEP) settled(); // it will never be taken
    if (error.status === OUT_OF_STEP) return null;
    throw error;
  } finally {
    removeEventListener("beforeunload", warn);
  }
}

// After a reload only the device's clock knows how long ago onset was, and it may have been set in between.
function within(rt, elapsed_ms) {
  return Math.min(Math.max(Number.isFinite(elapsed_ms) ? elapsed_ms : 0, rt), LONGEST_MS);
}
