// The page of an order: shows its progress, and lets the customer pay or cancel.

import { call, insist } from "./api.js";
import { heard, secondsUntil } from "./clock.js";
import { badge, byId, copyOf, part, say, tell } from "./dom.js";
import { follow, jittered } from "./poll.js";
import { duration, moment, money, orderState, paymentState, refusal } from "./words.js";

const FIRST_S = 0.5;
const GROWTH = 1.5;
const LONGEST_S = 10;
const END_STATES = ["paid", "refunded", "cancelled", "rejected"];
const OPEN_PAYMENTS = ["created", "processing", "unknown"];

const { order: id } = byId("page").dataset;
let order = null;
let interval = FIRST_S;
let isBusy = false;

function event({ status, reason, at }) {
  const node = copyOf("event");
  say(part(node, "at"), moment(at));
  part(node, "at").dateTime = at;
  say(part(node, "text"), orderState(status, reason));
  return node;
}

function history() {
  const list = byId("history");
  if (list.childElementCount !== order.history.length) list.replaceChildren(...order.history.map(event));
}

function deadline() {
  const isDue = order?.status === "pending_payment" && order.expires_at !== null;
  byId("deadline").hidden = !isDue;
  if (isDue) say(byId("countdown"), duration(secondsUntil(order.expires_at)));
}

function controls() {
  const isWaiting = order.status === "pending_payment";
  byId("pay").hidden = !isWaiting || OPEN_PAYMENTS.includes(order.payment?.status);
  byId("confirm").hidden = !isWaiting || !order.payment?.needs_action;
  byId("cancel").hidden = !isWaiting && order.status !== "reserved";
  for (const control of document.querySelectorAll("#pay button, #method, #confirm, #cancel")) control.disabled = isBusy;
}

function show() {
  const words = orderState(order.status, order.reason);
  say(byId("what"), `${order.quantity} × ${order.sku}`);
  badge(byId("state"), order.status, words);
  tell(byId("status"), `Your order: ${words}.`);
  say(byId("total"), money(order.total, order.currency));
  tell(byId("payment"), paymentState(order.payment), order.payment?.status === "failed" ? "bad" : "");
  byId("order").hidden = false;
  history();
  deadline();
  controls();
}

function learn(answer) {
  if (answer.data.status !== order?.status) interval = FIRST_S;
  order = answer.data;
  if (answer.date) heard(answer.date);
  show();
}

async function look() {
  const answer = await call("GET", `orders/${id}/`);
  if (answer?.status === 200) {
    learn(answer);
    if (END_STATES.includes(order.status)) return null;
  } else {
    tell(byId("status"), answer?.status === 404 ? "You have no such order." : refusal(answer), "bad");
    if ([401, 404].includes(answer?.status)) return null;
  }
  const seconds = jittered(interval) + (answer?.retryAfter ?? 0);
  interval = Math.min(LONGEST_S, interval * GROWTH);
  return seconds;
}

const followed = follow(look);
setInterval(deadline, 250);

// Both actions are idempotent, so a request is repeated after a lost answer.
async function act(path, body, doing) {
  if (isBusy) return;
  isBusy = true;
  controls();
  tell(byId("answer"), doing);
  const answer = await insist("POST", `orders/${id}/${path}/`, body, (text) => tell(byId("answer"), text));
  isBusy = false;
  const isDone = answer?.status === 200 || answer?.status === 202;
  tell(byId("answer"), isDone ? "" : refusal(answer), isDone ? "" : "bad");
  if (isDone) learn(answer);
  else controls();
  interval = FIRST_S;
  followed.again();
}

byId("pay").addEventListener("submit", (submitted) => {
  submitted.preventDefault();
  act("pay", { payment_method: byId("method").value }, "Paying…");
});
byId("confirm").addEventListener("click", async () => {
  const answer = await insist("POST", `orders/${id}/payment-action/`, {}, (text) => tell(byId("answer"), text));
  if (answer?.status === 200 && answer.data.url) location.assign(answer.data.url);
  else tell(byId("answer"), answer?.status === 200 ? "Confirm the payment in your bank's app." : refusal(answer), "bad");
  followed.again();
});
byId("cancel").addEventListener("click", () => act("cancel", {}, "Cancelling…"));
