// Waits in an item's line until there is a token or a final refusal.
//
// A place has a number. The page polls the line's public numbers, which the gateway answers. It polls with the ticket when its
// number is served, and at intervals once the numbers ask it to check in. It never stops by itself: without an answer it polls at
// growing intervals, and at once when the device is online or the page is visible again. The shop keeps a place for two minutes.

import { call } from "./api.js";
import { jittered, rest } from "./poll.js";

const LONGEST_S = 15;

const isOfLine = (answer) => answer?.status === 200 && answer.data.now_serving !== undefined;
const hasPlace = (answer) => [200, 202].includes(answer?.status) && !answer.data.token && !isOfLine(answer);

// Answers that are neither a place in line nor final.
function isUnanswered(answer) {
  if (answer === null || answer.status >= 500) return true;
  return [408, 429].includes(answer.status) || answer.data.code === "paused";
}

function sentence({ position, remaining, estimated_wait: wait }) {
  const units = remaining === 1 ? "1 unit is" : `${remaining} units are`;
  return `You are number ${position} in line, about ${wait} s. ${units} left. Please keep this page open.`;
}

function told(answer) {
  if (answer?.data.code === "paused") return "The sale is paused for a moment. You keep your place in line.";
  const why = answer === null ? "No answer from the shop." : "The shop is busy.";
  return `${why} Trying again: your place in line is kept for two minutes.`;
}

class Waiting {
  constructor({ slug, sku }, ticket) {
    this.ticketPath = `waiting-room/${encodeURIComponent(ticket)}/`;
    this.linePath = `sales/${encodeURIComponent(slug)}/items/${encodeURIComponent(sku)}/waiting-room/`;
    this.place = null;
    this.line = null; // null too if the shop has no numbers; then every poll uses the ticket
    this.hasNumbers = true;
    this.wasOffline = false;
    this.askedAt = performance.now();
  }

  async ask() {
    this.wasOffline = false;
    this.askedAt = performance.now();
    return call("GET", this.ticketPath);
  }

  // Whether it is time to poll with the ticket.
  isDue() {
    if (this.wasOffline || !this.line) return this.wasOffline;
    const { now_serving: served, check_in: near, check_in_every: every, retry_after: pause } = this.line;
    const silence = (performance.now() - this.askedAt) / 1000;
    return this.place.number <= served || (this.place.number <= near && silence + pause > every);
  }

  async next() {
    if (this.place?.number === undefined || !this.hasNumbers) return this.ask();
    const answer = await call("GET", this.linePath);
    if (answer === null && !navigator.onLine) {
      this.wasOffline = true;
      return answer;
    }
    this.hasNumbers = answer?.status !== 404;
    if (isOfLine(answer)) this.line = answer.data;
    return !this.hasNumbers || this.isDue() ? this.ask() : answer;
  }

  learn(answer) {
    if (hasPlace(answer)) this.place = answer.data;
    if (!isOfLine(answer)) return;
    const { now_serving: served, remaining, rate } = answer.data;
    const position = Math.max(1, Math.min(this.place.position, this.place.number - served));
    this.place = { ...this.place, position, remaining, estimated_wait: Math.ceil(position / rate) };
  }

  // Seconds until the next poll, fewer when the turn is near.
  pause(answer, failures) {
    const named = Math.max(1, answer?.retryAfter ?? 0, Number(answer?.data.retry_after) || 0);
    if (failures) return Math.min(LONGEST_S, jittered(Math.max(named, 2 ** (failures - 1))));
    if (!isOfLine(answer)) return Math.min(LONGEST_S, named);
    return jittered(Math.max(1, Math.min(named, this.place.estimated_wait / 2)));
  }
}

// Returns the final answer: a token or a refusal. `item`: slug and SKU. `first`: the answer that contained the ticket, if any.
export async function waitInLine(item, ticket, onWait, first = undefined) {
  const waiting = new Waiting(item, ticket);
  let answer = first === undefined ? await waiting.ask() : first;
  for (let failures = 0; hasPlace(answer) || isOfLine(answer) || isUnanswered(answer); answer = await waiting.next()) {
    failures = isUnanswered(answer) ? failures + 1 : 0;
    waiting.learn(answer);
    onWait(failures ? told(answer) : sentence(waiting.place));
    await rest(waiting.pause(answer, failures));
  }
  return answer;
}
