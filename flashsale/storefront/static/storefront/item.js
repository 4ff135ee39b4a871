// One item of a sale: its stock, and the form that buys it.

import { copyOf, part, say, tell } from "./dom.js";
import { buy, unanswered } from "./purchase.js";
import { money } from "./words.js";

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
    this.answer = part(this.node, "answer");
    this.price = null; // as it is shown
    this.outdated = null; // a price that the sale still tells, and the shop does not sell at any more
    this.isBuyable = false;
    this.isBusy = false;
    part(this.node, "form").addEventListener("submit", (event) => this.submit(event));
    // A page that the browser kept while the order was looked at starts over.
    addEventListener("pageshow", (event) => event.persisted && this.done(""));
    if (user && unanswered(this.where)) tell(this.answer, UNANSWERED);
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

  // The sale may tell the old price for a second more.
  learnPrice(price) {
    const old = this.price;
    this.showPrice(price);
    this.outdated = old;
    return `The price is ${money(price, this.currency)} now. Nothing was ordered. Press Buy to order at this price.`;
  }

  // A request without an answer is sent again as it was, so its choices are fixed; it may be asked about after the sale, too.
  refresh() {
    const open = this.where.user ? unanswered(this.where) : null;
    if (open) {
      this.quantity.value = open.quantity;
      this.method.value = open.payment_method ?? "";
    }
    this.quantity.disabled = this.method.disabled = this.isBusy || open !== null;
    if (this.button) this.button.disabled = this.isBusy || !(this.isBuyable || open);
  }

  async submit(event) {
    event.preventDefault();
    if (this.isBusy || !this.button || this.button.disabled) return;
    const choice = { quantity: this.quantity.valueAsNumber, method: this.method.value, price: this.price };
    this.isBusy = true;
    this.refresh();
    tell(this.answer, "Ordering…");
    const { order, sentence, isSignedOut, price } = await buy(this.where, choice, (text) => tell(this.answer, text));
    if (order) {
      // The button stays off: the page is being left.
      tell(this.answer, "Your order is in. One moment…");
      location.assign(`/orders/${order}/`);
    } else if (isSignedOut) {
      location.assign(`/login/?next=${encodeURIComponent(location.pathname)}`);
    } else if (price) {
      this.done(this.learnPrice(price));
    } else {
      this.done(unanswered(this.where) ? `${sentence} ${UNANSWERED}` : sentence);
    }
  }

  done(sentence) {
    this.isBusy = false;
    tell(this.answer, sentence, sentence ? "bad" : "");
    this.refresh();
    if (document.activeElement === document.body) this.button?.focus(); // a button that was off has lost the keyboard
  }
}
