// What codes and numbers of the API are in plain words.

const REFUSALS = {
  sold_out: "Sold out. If somebody's order lapses, its units come back on sale.",
  not_open: "The sale has not opened yet.",
  paused: "The sale is paused. Please try again in a moment.",
  ended: "The sale has ended.",
  limit_per_customer: "You have already ordered as many of these as one customer may buy.",
  price_changed: "The price has changed, and nothing was ordered.",
  ticket_lapsed: "Your place in line is gone: nothing was heard from you for two minutes, or your turn was used or went by.",
  token_used: "This permission to buy has been used. Look at your orders before you buy again.",
  token_invalid: "The permission to buy ran out, and nothing was ordered. Please press Buy again.",
  rate_limited: "That was too many requests. Please wait a little and try again.",
  busy: "More orders are waiting than the shop can handle. Please try again in a moment.",
  unavailable: "A part of the shop cannot be reached. Please try again in a moment.",
  idempotency_mismatch: "This purchase was sent before with other choices. Look at your orders.",
  seq_taken: "This purchase could not be sent. Please press Buy again.",
  not_payable: "The order cannot be paid as it stands.",
  payment_attempts_exhausted: "This order has reached the limit of payment attempts.",
  too_many_payments: "Too many of your payments have failed. Please try again later.",
  too_many_unpaid: "You have left too many orders of this item unpaid.",
  not_cancellable: "The order cannot be cancelled any more.",
  not_authenticated: "Please sign in again.",
  permission_denied: "Your session has changed. Please reload the page and try again.",
  not_found: "Not found.",
};
const NO_ANSWER = "No answer from the shop.";

export function refusal(answer) {
  if (answer === null) return NO_ANSWER;
  const sentence = REFUSALS[answer.data.code] ?? answer.data.detail ?? `The shop could not do that (${answer.status}).`;
  return answer.retryAfter > 1 ? `${sentence} (in ${answer.retryAfter} seconds)` : sentence;
}

export const SALE_STATES = { scheduled: "Opens soon", live: "On sale", paused: "Paused", ended: "Ended" };
export const ORDER_STATES = {
  queued: "In the queue",
  reserved: "Reserved for you",
  pending_payment: "Waiting for payment",
  paid: "Paid",
  refunded: "Refunded",
  cancelled: "Cancelled",
  rejected: "Not fulfilled",
};
const REASONS = {
  by_customer: "by you",
  by_staff: "by the shop",
  payment_timeout: "not paid in time",
  sold_out: "sold out",
  seq_taken: "sent twice",
  price_mismatch: "its price was wrong by a fault of the shop; nothing was charged",
  poisoned: "it could not be taken as it was; nothing was charged",
  lost: "lost by a fault of the shop; nothing was charged",
};
export const reasonOf = (reason) => REASONS[reason] ?? reason.replaceAll("_", " ");

export function orderState(status, reason) {
  const words = ORDER_STATES[status] ?? status;
  return reason ? `${words}: ${reasonOf(reason)}` : words;
}

const PAYMENTS = {
  created: "The payment is being made…",
  processing: "The payment is being made…",
  unknown: "The payment is being checked…",
  succeeded: "The payment went through.",
  failed: "The payment was declined.",
};
export function paymentState(payment) {
  if (!payment) return "";
  if (payment.needs_action) return "The payment waits for your confirmation.";
  if (payment.failure_code === "provider_unavailable") return "Payments are delayed. You are charged as soon as possible.";
  return PAYMENTS[payment.status] ?? payment.status;
}

export function money(amount, currency) {
  try {
    const digits = (amount.split(".")[1] ?? "").length; // the shop's own, by ISO 4217
    const style = { style: "currency", currency, minimumFractionDigits: digits, maximumFractionDigits: digits };
    return new Intl.NumberFormat(undefined, style).format(amount);
  } catch {
    return `${amount} ${currency}`;
  }
}

export const moment = (time) => new Date(time).toLocaleString(undefined, { dateStyle: "medium", timeStyle: "medium" });

export function duration(seconds) {
  const days = Math.floor(seconds / 86_400);
  const clock = [Math.floor(seconds / 3600) % 24, Math.floor(seconds / 60) % 60, seconds % 60];
  const digits = clock.map((part) => String(part).padStart(2, "0")).join(":");
  return days ? `${days} d ${digits}` : digits;
}
