// Buys an item at most once per purchase that the customer starts.
//
// Each purchase gets its own seq. Seq and request are stored in the tab until the final answer is known. A click after a lost
// answer sends the same request again, and the shop returns the existing order. A ticket is stored with the customer's choices,
// so a reloaded page continues to wait.

import { insist } from "./api.js";
import { waitInLine } from "./line.js";
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
  // Except on localhost, browsers have randomUUID on https only.
  return [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

// The request that was sent and has no known answer, or null.
export const unanswered = (item) => kept(item)?.body ?? null;

// The choices of the customer in line, or null: {ticket, quantity, method, price}.
export const waiting = (item) => (kept(item)?.ticket && !kept(item).body ? { ...kept(item).choice, ticket: kept(item).ticket } : null);

// Stores a ticket that the shop reports and this tab does not know. The next click uses it.
export const takeUp = (item, ticket) => keep(item, { ...(kept(item) ?? { seq: newSeq(), body: null }), ticket });

async function purchaseToken(item, wish, onWait) {
  const path = `sales/${encodeURIComponent(item.slug)}/items/${encodeURIComponent(item.sku)}/purchase-tokens/`;
  const first = wish.ticket ? undefined : await insist("POST", path, {}, onWait);
  const ticket = wish.ticket ?? first?.data.ticket;
  if (!ticket) return first;
  keep(item, Object.assign(wish, { ticket }));
  return waitInLine(item, ticket, onWait, first);
}

// Whether the refusal is final: not a missing answer, a busy shop, or a missing session.
function isFinal(answer) {
  if (answer === null || answer.status >= 500) return false;
  return ![401, 408, 429].includes(answer.status) && answer.data.code !== "permission_denied";
}

function refused(item, answer) {
  if (isFinal(answer)) forget(item);
  const price = answer?.data.code === "price_changed" ? answer.data.unit_price : null;
  const isLapsed = answer?.data.code === "ticket_lapsed";
  return { order: null, sentence: refusal(answer), isSignedOut: answer?.status === 401, price, isLapsed };
}

// Returns {order} with the order's id, or the refusal as {sentence, isSignedOut, price, isLapsed}. price: the price of a unit, if it
// differs from the one shown. isLapsed: the place in line is gone.
export async function buy(item, choice, onWait) {
  const { quantity, method, price } = choice;
  const wish = Object.assign(kept(item) ?? { seq: newSeq(), body: null }, { choice });
  keep(item, wish);
  if (!wish.body) {
    const permission = await purchaseToken(item, wish, onWait);
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
