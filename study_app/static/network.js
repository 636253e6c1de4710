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
    const impatient = new AbortController();
    const timer = setTimeout(() => impatient.abort(), TIMEOUT_MS);
    const posted = body && { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body()) };
    try {
      const reply = await fetch(address, { cache: "no-store", signal: impatient.signal, ...posted });
      if (reply.status >= 400 && reply.status < 500 && reply.status !== 429) throw new Refused(reply.status);
      if (reply.ok) {
        const answered = await reply.json();
        notice(null);
        return answered;
      }
    } catch (error) {
      if (error instanceof Refused) throw error;
    } finally {
      clearTimeout(timer);
    }
    notice(words.offline);
    await pause(attempt);
  }
}
