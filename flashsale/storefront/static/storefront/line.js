// Waits in an item's line until there is a token or nothing left to wait for.
//
// It never stops asking of itself: without an answer it asks at growing intervals, and at once when the device is online again or
// the page is looked at again. The shop keeps a place for two minutes.

import { call } from "./api.js";
import { jittered, rest } from "./poll.js";

const LONGEST_S = 15;

const hasPlace = (answer) => [200, 202].includes(answer?.status) && !answer.data.token;

// Neither an answer of the line nor its end.
function isUnanswered(answer) {
  if (answer === null || answer.status >= 500) return true;
  return [408, 429].includes(answer.status) || answer.data.code === "paused";
}

function place({ position, remaining, estimated_wait: wait }) {
  const units = remaining === 1 ? "1 unit is" : `${remaining} units are`;
  return `You are number ${position} in line, about ${wait} s. ${units} left. Please keep this page open.`;
}

function told(answer) {
  if (answer?.data.code === "paused") return "The sale is paused for a moment. You keep your place in line.";
  const why = answer === null ? "No answer from the shop." : "The shop is busy.";
  return `${why} Trying again: your place in line is kept for two minutes.`;
}

// The answer that ends the waiting: with a token, or why there is none. `first`: the answer that gave the ticket, if there is one.
export async function waitInLine(ticket, onWait, first = undefined) {
  const ask = () => call("GET", `waiting-room/${encodeURIComponent(ticket)}/`);
  let answer = first === undefined ? await ask() : first;
  for (let failures = 0; hasPlace(answer) || isUnanswered(answer); answer = await ask()) {
    failures = hasPlace(answer) ? 0 : failures + 1;
    onWait(failures ? told(answer) : place(answer.data));
    const named = Math.max(1, answer?.retryAfter ?? 0, Number(answer?.data.retry_after) || 0);
    await rest(Math.min(LONGEST_S, failures ? jittered(Math.max(named, 2 ** (failures - 1))) : named));
  }
  return answer;
}
