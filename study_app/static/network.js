// Requests that are repeated until the server has answered.

import { notice, words } from "./page.js";

const RETRY_MS = [500, 1000, 2000, 4000, 8000];
const TIMEOUT_MS = 20_000; // a connection that died without a word

// The server has answered, and will not answer otherwise if it is asked again.
export class Refused extends Error {
  constructor(status) {
    super(`refused with ${status}`);
    this.status = status;
  }
}

// Longer after each attempt, and not for all participants alike; at once when the browser is online again.
export function pause(attempt) {
  return new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer);
      removeEventListener("online", done);
      resolve();
    };
    const timer = setTimeout(done, RETRY_MS[Math.min(attempt, RETRY_MS.length - 1)] * (0.5 + Math.random()));
    addEventListener("online", done);
  });
}

// The reply's JSON. With body(), which is called anew for each attempt, what it returns is posted.
export async function request(address, body) {
  for (let attempt = 0; ; attempt++) {
    const posted = body && { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body()) };
    const answered = await ask(address, posted, (reply) => reply.json());
    if (answered !== undefined) {
      notice(null);
      return answered;
    }
    notice(words.offline);
    await pause(attempt);
  }
}

// Throws Refused if the server refuses the address; returns if it does not, and if nobody knows.
export async function checkNotRefused(address) {
  await ask(address, { method: "HEAD" }, () => true);
}

// A single request: what read(reply) makes of the reply, or undefined where the network or the server fails.
async function ask(address, options, read) {
  const impatient = new AbortController();
  const timer = setTimeout(() => impatient.abort(), TIMEOUT_MS);
  try {
    const reply = await fetch(address, { cache: "no-store", signal: impatient.signal, ...options });
    if (reply.status >= 400 && reply.status < 500 && reply.status !== 429) throw new Refused(reply.status);
    return reply.ok ? await read(reply) : undefined;
  } catch (error) {
    if (error instanceof Refused) throw error;
  } finally {
    clearTimeout(timer);
  }
}
