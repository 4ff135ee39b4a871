// The page of a sale: state, countdown by the server's clock, and items.

import { call } from "./api.js";
import { heard, secondsUntil } from "./clock.js";
import { badge, byId, say, tell } from "./dom.js";
import { Item } from "./item.js";
import { follow, jittered } from "./poll.js";
import { SALE_STATES, duration, refusal } from "./words.js";

const EVERY_S = 1;
const CALM_S = 5; // polling interval long before the opening, and after the end
const SOON_S = 60;
const LONGEST_S = 30;

const user = document.body.dataset.user;
const { slug } = byId("page").dataset;
const items = new Map();
let sale = null;
let failures = 0;
let arePlacesKnown = false;

function countdown() {
  const target = sale && { scheduled: sale.opens_at, live: sale.closes_at }[sale.state];
  say(byId("until"), target ? { scheduled: "Opens in", live: "Ends in" }[sale.state] : "");
  say(byId("countdown"), target ? duration(secondsUntil(target)) : "");
}

function itemOf(sku) {
  if (!items.has(sku)) {
    items.set(sku, new Item(user, slug, sku));
    if (arePlacesKnown) items.get(sku).learnPlace();
    byId("items").append(items.get(sku).node);
  }
  return items.get(sku);
}

function show() {
  document.title = sale.name;
  say(byId("name"), sale.name);
  badge(byId("state"), sale.state, SALE_STATES[sale.state] ?? sale.state);
  tell(byId("status"), sale.items.length ? "" : "There is nothing in this sale yet.");
  for (const item of sale.items) itemOf(item.sku).show(item, sale.state === "live");
  countdown();
}

function pace() {
  const isCalm = sale.state === "ended" || (sale.state === "scheduled" && secondsUntil(sale.opens_at) > SOON_S);
  return jittered(isCalm ? CALM_S : EVERY_S);
}

// Once per page load, and again after the device was offline.
async function learnPlaces() {
  const answer = await call("GET", `sales/${encodeURIComponent(slug)}/me/`);
  const tickets = new Map(answer?.status === 200 ? answer.data.tickets.map(({ sku, ticket }) => [sku, ticket]) : []);
  arePlacesKnown = true;
  for (const [sku, item] of items) item.learnPlace(tickets.get(sku));
}

async function look() {
  const answer = await call("GET", `sales/${encodeURIComponent(slug)}/`);
  if (answer?.status === 200) {
    failures = 0;
    heard(answer.data.server_time);
    const isFirst = sale === null;
    sale = answer.data;
    show();
    if (isFirst && user) learnPlaces();
    return pace();
  }
  failures += 1;
  if (answer?.status === 404) tell(byId("status"), "There is no such sale.", "bad");
  else if (failures > 1) tell(byId("status"), `${refusal(answer)} What you see may be out of date.`, "bad");
  return jittered(Math.min(LONGEST_S, (answer?.retryAfter ?? 0) + EVERY_S * 2 ** failures));
}

setInterval(countdown, 250);
follow(look);
if (user) addEventListener("online", learnPlaces);
