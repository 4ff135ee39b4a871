// One item of a sale: its stock, and the form that buys it.

import { copyOf, part, say, tell } from "./dom.js";
import { waitInLine } from "./line.js";
import { buy, takeUp, unanswered, waiting } from "./purchase.js";
import { money, refusal } from "./words.js";

const YOUR_TURN = "It is your turn: press Buy within a minute.";
const UNANSWERED = "Your last purchase had no answer yet. Press Buy to ask again: there will be one order at most.";

function label(node, name) {
  const field = part(node, name);
  field.id = `field-${crypto.getRandomValues(new Uint32Array(1))[0]}`;
  part(node, `${name}-label`).htmlFor = field.id;
  return field;
}

export class Item {
  constructor(user, slug, sku) {
    this.where = { user, slug, sku };
    this.node = copyOf("item");
    this.quantity = label(this.node, "quantity");
    this.method = label(this.node, "method");
    this.button = part(this.node, "buy"); // null for a visitor
    this.rejoin = part(this.node, "rejoin"); // replaces the button when the place in line is gone
    this.answer = part(this.node, "answer");
    this.price = null; // as shown
    this.outdated = null; // a former price that the sale page may still show
    this.isBuyable = false;
    this.isBusy = false;
    this.isKnown = false; // whether the customer has a place in line
    this.isLapsed = false;
    part(this.node, "form").addEventListener("submit", (event) => this.submit(event));
    // A page restored from the browser's cache starts over.
    addEventListener("pageshow", (event) => event.persisted && this.done(""));
    if (user && unanswered(this.where)) tell(this.answer, UNANSWERED);
    const before = user ? waiting(this.where) : null;
    if (before?.quantity) this.order(before);
  }

  show(item, isLive) {
    say(part(this.node, "name"), item.name);
    this.currency = item.currency;
    if (item.price !== this.outdated) this.showPrice(item.price);
    say(part(this.node, "list-price"), item.list_price ? money(item.list_price, item.currency) : "");
    say(part(this.node, "stock"), item.sold_out ? "Sold out" : `${item.remaining} left`);
    say(part(this.node, "limit"), `At most ${item.per_customer} for each customer`);
    this.node.classList.toggle("gone", item.sold_out);
    this.quantity.max = item.per_customer;
    if (this.button) this.button.setAttribute("aria-label", `Buy ${item.name}`);
    this.isBuyable = isLive && !item.sold_out;
    this.refresh();
  }

  showPrice(price) {
    this.price = price;
    this.outdated = null;
    say(part(this.node, "price"), money(price, this.currency));
  }

  // The sale page may show the old price for another second.
  learnPrice(price) {
    const old = this.price;
    this.showPrice(price);
    this.outdated = old;
    return `The price is ${money(price, this.currency)} now. Nothing was ordered. Press Buy to order at this price.`;
  }

  // A request without an answer is sent again unchanged, so its choices are fixed. That is possible after the sale, too.
  refresh() {
    const open = this.where.user ? unanswered(this.where) : null;
    if (open) {
      this.quantity.value = open.quantity;
      this.method.value = open.payment_method ?? "";
    }
    this.quantity.disabled = this.method.disabled = this.isBusy || open !== null;
    if (!this.button) return;
    this.button.disabled = this.rejoin.disabled = this.isBusy || !((this.isBuyable && this.isKnown) || open);
    this.button.hidden = this.isLapsed;
    this.rejoin.hidden = !this.isLapsed;
  }

  // Called when the customer's place in line is known, or known to be missing. If the shop did not answer, joining finds the place.
  async learnPlace(ticket) {
    this.isKnown = true;
    this.refresh();
    if (!ticket || this.isBusy || unanswered(this.where)) return;
    this.isBusy = true;
    this.refresh();
    const answer = await waitInLine(this.where, ticket, (text) => tell(this.answer, text));
    if (answer.data.token) takeUp(this.where, ticket);
    this.isLapsed = answer.data.code === "ticket_lapsed";
    this.done(answer.data.token ? YOUR_TURN : refusal(answer));
  }

  submit(event) {
    event.preventDefault();
    if (this.isBusy || !this.button || this.button.disabled) return;
    this.order({ quantity: this.quantity.valueAsNumber, method: this.method.value, price: this.price });
  }

  async order(choice) {
    this.isBusy = true;
    this.isLapsed = false;
    this.quantity.value = choice.quantity;
    this.method.value = choice.method;
    this.refresh();
    tell(this.answer, "Ordering…");
    const { order, sentence, isSignedOut, price, isLapsed } = await buy(this.where, choice, (text) => tell(this.answer, text));
    if (order) {
      // The button stays disabled, because the browser leaves the page.
      tell(this.answer, "Your order is in. One moment…");
      location.assign(`/orders/${order}/`);
    } else if (isSignedOut) {
      location.assign(`/login/?next=${encodeURIComponent(location.pathname)}`);
    } else if (price) {
      this.done(this.learnPrice(price));
    } else {
      this.isLapsed = isLapsed;
      this.done(unanswered(this.where) ? `${sentence} ${UNANSWERED}` : sentence);
    }
  }

  done(sentence) {
    this.isBusy = false;
    tell(this.answer, sentence, sentence ? "bad" : "");
    this.refresh();
    if (document.activeElement === document.body) (this.isLapsed ? this.rejoin : this.button)?.focus(); // a disabled button has lost the focus
  }
}
