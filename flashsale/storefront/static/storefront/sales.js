// The list of sales.

import { insist } from "./api.js";
import { badge, byId, copyOf, part, say, tell } from "./dom.js";
import { SALE_STATES, moment, refusal } from "./words.js";

function card(sale) {
  const node = copyOf("sale");
  const link = part(node, "name");
  say(link, sale.name);
  link.href = `/sales/${encodeURIComponent(sale.slug)}/`;
  badge(part(node, "state"), sale.state, SALE_STATES[sale.state] ?? sale.state);
  say(part(node, "when"), sale.state === "scheduled" ? `Opens ${moment(sale.opens_at)}` : `Until ${moment(sale.closes_at)}`);
  say(part(node, "items"), sale.items.map((item) => (item.sold_out ? `${item.name} (sold out)` : item.name)).join(", "));
  return node;
}

const answer = await insist("GET", "sales/");
if (answer?.status === 200) {
  byId("sales").replaceChildren(...answer.data.map(card));
  tell(byId("status"), answer.data.length ? "" : "There are no sales at the moment.");
} else {
  tell(byId("status"), refusal(answer), "bad");
}
