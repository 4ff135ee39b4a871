// The customer's orders.

import { insist } from "./api.js";
import { badge, byId, copyOf, part, say, tell } from "./dom.js";
import { moment, money, orderState, refusal } from "./words.js";

function card(order) {
  const node = copyOf("order");
  const link = part(node, "what");
  say(link, `${order.quantity} × ${order.sku}`);
  link.href = `/orders/${order.id}/`;
  badge(part(node, "state"), order.status, orderState(order.status, order.reason));
  say(part(node, "total"), money(order.total, order.currency));
  say(part(node, "when"), moment(order.created_at));
  part(node, "when").dateTime = order.created_at;
  return node;
}

const answer = await insist("GET", "orders/");
if (answer?.status === 200) {
  byId("orders").replaceChildren(...answer.data.map(card));
  tell(byId("status"), answer.data.length ? "" : "You have no orders yet.");
} else {
  tell(byId("status"), refusal(answer), "bad");
}
