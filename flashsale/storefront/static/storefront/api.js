// Calls the API as the signed-in customer. Returns {status, data, retryAfter, date}, or null if there was no answer.

import { rest } from "./poll.js";

const ROOT = "/api/v1/";
const PATIENCE_MS = 10_000;
const TRIES = 5;
const FIRST_PAUSE_S = 0.5;
const LONGEST_PAUSE_S = 15; // for longer waits, the customer decides

const pause = (seconds) => new Promise((done) => setTimeout(done, seconds * 1000));

function csrfToken() {
  const cookie = document.cookie.split("; ").find((pair) => pair.startsWith("csrftoken="));
  return cookie ? cookie.slice("csrftoken=".length) : "";
}

export async function call(method, path, body) {
  // no-store: a cached copy would contain an old server time.
  const options = { method, credentials: "same-origin", cache: "no-store", headers: { Accept: "application/json" } };
  options.signal = AbortSignal.timeout(PATIENCE_MS);
  if (body !== undefined) {
    options.headers["Content-Type"] = "application/json";
    options.headers["X-CSRFToken"] = csrfToken();
    options.body = JSON.stringify(body);
  }
  try {
    const response = await fetch(ROOT + path, options);
    const isJson = (response.headers.get("Content-Type") ?? "").includes("json");
    return {
      status: response.status,
      data: isJson ? await response.json() : {},
      retryAfter: Number(response.headers.get("Retry-After")) || 0,
      date: response.headers.get("Date"),
    };
  } catch {
    return null;
  }
}

const mayPass = (answer) => answer === null || answer.status === 429 || answer.status >= 500;

// For idempotent requests: sends up to TRIES times and honours Retry-After. It does not give up while the device is offline.
export async function insist(method, path, body, onWait = () => {}) {
  for (let tried = 1; ; tried += 1) {
    const answer = await call(method, path, body);
    if (answer === null && !navigator.onLine) {
      onWait("This device is offline. The shop is asked again as soon as it is back.");
      await rest(LONGEST_PAUSE_S);
      tried = 0;
      continue;
    }
    if (!mayPass(answer) || tried === TRIES || (answer?.retryAfter ?? 0) > LONGEST_PAUSE_S) return answer;
    const backoff = FIRST_PAUSE_S * 2 ** (tried - 1) * (0.5 + Math.random());
    onWait("The shop is busy. Trying again…");
    await pause(Math.max(answer?.retryAfter ?? 0, 0) + backoff);
  }
}
