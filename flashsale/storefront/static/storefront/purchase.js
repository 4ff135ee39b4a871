// Buys one item at most once for each wish to buy.
//
// A wish gets its own seq. Seq and request are kept in the tab until the shop's final answer is known, so a click after a
// lost answer sends the very same request again, and the shop answers with the order that is there already.

import { insist, pause } from "./api.js";
import { refusal } from "./words.js";

const keyOf = ({ user, slug, sku }) => `purchase/${user}/${slug}/${sku}`;
const keep = (item, wish) => sessionStorage.setItem(keyOf(item), JSON.stringify(wish));
const forget = (item) => sessionStorage.removeItem(keyOf(item));

function kept(item) {
  try {
    return JSON.parse(sessionStorage.getItem(keyOf(item)));
  } catch {
    return null;
  }
}

function newSeq() {
  if (crypto.randomUUID) return crypto.randomUUID();
  // Past localhost, browsers have randomUUID on https only.
  return [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

// The request that has been sent and whose answer is not known, or null.
export const unanswered = (item) => kept(item)?.body ?? null;

// A sale whose gate is put up anew says that it is paused, and when to ask again; its line is still there.
function keepsPlace(answer) {
  if (answer?.status === 409) return answer.data.code === "paused" && answer.retryAfter > 0;
  return answer?.status === 202 || (answer?.status === 200 && !answer.data.token);
}

async function purchaseToken({ slug, sku }, onWait) {
  const path = `sales/${encodeURIComponent(slug)}/items/${encodeURIComponent(sku)}/purchase-tokens/`;
  let answer = await insist("POST", path, {}, onWait);
  const ticket = answer?.data.ticket;
  while (ticket && keepsPlace(answer)) {
    const { position, remaining, estimated_wait: wait } = answer.data;
    const units = remaining === 1 ? "1 unit is" : `${remaining} units are`;
    if (position) onWait(`You are number ${position} in line, about ${wait} s. ${units} left. Please keep this page open.`);
    await pause(Math.max(1, answer.retryAfter, Number(answer.data.retry_after) || 0));
    answer = await insist("GET", `waiting-room/${encodeURIComponent(ticket)}/`, undefined, onWait);
  }
  return answer;
}

// Whether the shop has said no for good: not for lack of an answer, of time, or of a session.
function isFinal(answer) {
  if (answer === null || answer.status >= 500) return false;
  return ![401, 408, 429].includes(answer.status) && answer.data.code !== "permission_denied";
}

function refused(item, answer) {
  if (isFinal(answer)) forget(item);
  const price = answer?.data.code === "price_changed" ? answer.data.unit_price : null;
  return { order: null, sentence: refusal(answer), isSignedOut: answer?.status === 401, price };
}

// Returns {order} with the id of the order, or why there is none in {sentence, isSignedOut, price}; price is what a unit costs
// where that is not the price that was shown.
export async function buy(item, { quantity, method, price }, onWait) {
  const wish = kept(item) ?? { seq: newSeq(), body: null };
  keep(item, wish);
  if (!wish.body) {
    const permission = await purchaseToken(item, onWait);
    if (!permission?.data.token) return refused(item, permission);
    wish.body = { token: permission.data.token, sku: item.sku, quantity, source: "storefront", seq: wish.seq };
    if (method) wish.body.payment_method = method;
    if (price) wish.body.unit_price = price;
    keep(item, wish);
  }
  const answer = await insist("POST", "orders/", wish.body, onWait);
  if (answer?.status !== 202) return refused(item, answer);
  forget(item);
  return { order: answer.data.id };
}
