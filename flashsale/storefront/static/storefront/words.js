// Texts for the API's codes and numbers.

const REFUSALS = {
  sold_out: "Sold out. If an order is not paid, its units go back on sale.",
  not_open: "The sale has not opened yet.",
  paused: "The sale is paused. Please try again in a moment.",
  ended: "The sale has ended.",
  limit_per_customer: "You have already ordered as many of these as one customer may buy.",
  price_changed: "The price has changed. Nothing was ordered.",
  ticket_lapsed: "Your place in line is gone. The page was closed or offline for two minutes, or your turn was used or has expired.",
  token_used: "This purchase has already placed an order. Look at your orders before you buy again.",
  token_invalid: "This purchase has expired. Nothing was ordered. Please press Buy again.",
  rate_limited: "Too many requests. Please wait a little and try again.",
  busy: "The shop is busy. Please try again in a moment.",
  unavailable: "The shop is temporarily unavailable. Please try again in a moment.",
  idempotency_mismatch: "This purchase was already sent with different choices. Look at your orders.",
  seq_taken: "This purchase could not be sent. Please press Buy again.",
  not_payable: "The order cannot be paid in its present state.",
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
  price_mismatch: "the shop had a wrong price; nothing was charged",
  poisoned: "the shop could not process it; nothing was charged",
  lost: "lost because of an error in the shop; nothing was charged",
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
  if (payment.needs_action) return "The payment needs your confirmation.";
  if (payment.failure_code === "provider_unavailable") return "Payments are delayed. You are charged as soon as possible.";
  return PAYMENTS[payment.status] ?? payment.status;
}

export function money(amount, currency) {
  try {
    const digits = (amount.split(".")[1] ?? "").length; // the API's number of decimals, by ISO 4217
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
