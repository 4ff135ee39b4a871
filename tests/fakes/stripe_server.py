"""A stand-in for Stripe's API: ``python -m tests.fakes.stripe_server PORT``, on loopback, its books in memory.

What it does as Stripe does: idempotency keys with a comparison of the parameters, that are kept for answers but not for faults;
intents that are confirmed at once or by the customer, declines, 3-D Secure, refunds in whole and in part, listing with pages,
search by metadata, events. What a test tells it to do is below ``/_fake/``: see ``Control``.
"""

import hashlib
import hmac
import json
import sys
import threading
import time
import urllib.error
import urllib.request
from bisect import bisect_left
from collections import deque
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, urlsplit

CARDS = {
    "pm_card_visa": "",
    "pm_card_slow": "",
    "pm_card_threeDSecure2Required": "",
    "pm_card_processing": "",
    "pm_card_chargeDeclined": "generic_decline",
    "pm_card_chargeDeclinedInsufficientFunds": "insufficient_funds",
    "pm_card_chargeDeclinedStolenCard": "stolen_card",
}
THREE_DECIMAL = ("bhd", "jod", "kwd", "omr", "tnd")


class Refusal(Exception):
    def __init__(self, status, kind, code, message="", **more):
        super().__init__(message)
        self.status = status
        self.body = {"error": {"type": kind, "code": code, "message": message or code, **more}}


class Books:
    """Everything that the provider knows. Used under ``lock``."""

    def __init__(self):
        self.lock = threading.RLock()
        self.intents, self.refunds, self.events = {}, {}, []
        self.keys = {}  # idempotency key -> [digest, status, body], without an answer while it is under way
        self.faults = deque()
        self.latency_s = self.slow_s = 0.0
        self.limit_per_s = 0
        self.is_down = False
        self.arrivals, self.writes, self.refused, self.numbers = [], [], 0, 0

    def new_id(self, prefix):
        self.numbers += 1
        return f"{prefix}_{self.numbers:08d}"

    def tell(self, kind, about):
        event = {"id": self.new_id("evt"), "object": "event", "type": kind, "created": int(time.time())}
        self.events.append(event | {"data": {"object": json.loads(json.dumps(about))}})

    # intents

    def create(self, params):
        amount, currency = int(params.get("amount", 0)), params.get("currency", "")
        if amount <= 0:
            raise Refusal(400, "invalid_request_error", "parameter_invalid_integer", param="amount")
        if len(currency) != 3 or currency != currency.lower():
            raise Refusal(400, "invalid_request_error", "invalid_currency", param="currency")
        if currency in THREE_DECIMAL and amount % 10:
            raise Refusal(400, "invalid_request_error", "invalid_amount", param="amount")
        method = params.get("payment_method")
        if method is not None and method not in CARDS:
            raise Refusal(400, "invalid_request_error", "resource_missing", f"No such PaymentMethod: '{method}'")
        pk = self.new_id("pi")
        intent = {
            "id": pk,
            "object": "payment_intent",
            "amount": amount,
            "amount_received": 0,
            "currency": currency,
            "status": "requires_confirmation" if method else "requires_payment_method",
            "client_secret": f"{pk}_secret_{hashlib.sha256(pk.encode()).hexdigest()[:16]}",
            "created": int(time.time()),
            "metadata": params.get("metadata", {}),
            "payment_method": method,
            "last_payment_error": None,
            "next_action": None,
            "latest_charge": None,
            "return_url": params.get("return_url"),
        }
        self.intents[pk] = intent
        self.tell("payment_intent.created", intent)
        if params.get("confirm") == "true":
            self.confirm(intent, method)
        return intent

    def confirm(self, intent, method):
        if intent["status"] not in ("requires_confirmation", "requires_payment_method", "requires_action"):
            raise Refusal(400, "invalid_request_error", "payment_intent_unexpected_state")
        if method not in CARDS:
            raise Refusal(400, "invalid_request_error", "resource_missing")
        intent["payment_method"] = method
        if decline := CARDS[method]:
            self.decline(intent, "card_declined", decline)
            raise Refusal(402, "card_error", "card_declined", decline_code=decline, payment_intent=intent)
        if method == "pm_card_threeDSecure2Required":
            address = f"https://hooks.example/authenticate/{intent['id']}?client_secret={intent['client_secret']}"
            intent["next_action"] = {"type": "redirect_to_url", "redirect_to_url": {"url": address}}
            intent["status"] = "requires_action"
            self.tell("payment_intent.requires_action", intent)
        elif method == "pm_card_processing":
            intent["status"] = "processing"
            self.tell("payment_intent.processing", intent)
        else:
            self.capture(intent)

    def capture(self, intent):
        charge = {"id": self.new_id("ch"), "object": "charge", "amount": intent["amount"], "amount_refunded": 0}
        intent.update(status="succeeded", amount_received=intent["amount"], next_action=None, last_payment_error=None)
        intent["latest_charge"] = charge
        self.tell("payment_intent.succeeded", intent)

    def decline(self, intent, code, decline=""):
        error = {"type": "card_error", "code": code, "decline_code": decline}
        intent.update(status="requires_payment_method", next_action=None, last_payment_error=error)
        self.tell("payment_intent.payment_failed", intent)

    def cancel(self, intent):
        if intent["status"] in ("succeeded", "canceled", "processing"):
            raise Refusal(400, "invalid_request_error", "payment_intent_unexpected_state")
        intent.update(status="canceled", next_action=None)
        self.tell("payment_intent.canceled", intent)

    def intent(self, pk):
        if pk not in self.intents:
            raise Refusal(404, "invalid_request_error", "resource_missing", f"No such payment_intent: '{pk}'")
        return self.intents[pk]

    # refunds

    def refund(self, params):
        intent = self.intent(params.get("payment_intent", ""))
        if intent["status"] != "succeeded":
            raise Refusal(400, "invalid_request_error", "payment_intent_unexpected_state")
        charge = intent["latest_charge"]
        left = charge["amount"] - charge["amount_refunded"]
        if not left:
            raise Refusal(400, "invalid_request_error", "charge_already_refunded")
        amount = int(params.get("amount", left))
        if not 0 < amount <= left:
            raise Refusal(400, "invalid_request_error", "amount_too_large", param="amount")
        charge["amount_refunded"] += amount
        refund = {"id": self.new_id("re"), "object": "refund", "amount": amount, "status": "succeeded"}
        refund |= {"payment_intent": intent["id"], "currency": intent["currency"], "metadata": params.get("metadata", {})}
        self.refunds[refund["id"]] = refund
        self.tell("charge.refunded", charge | {"payment_intent": intent["id"], "metadata": intent["metadata"]})
        return refund

    def page(self, rows, params, url):
        rows = list(reversed(rows))  # newest first
        since = int(params.get("created", {}).get("gte", 0)) if isinstance(params.get("created"), dict) else 0
        rows = [row for row in rows if row.get("created", since) >= since]
        if after := params.get("starting_after"):
            rows = rows[[row["id"] for row in rows].index(after) + 1 :]
        limit = int(params.get("limit", 10))
        return {"object": "list", "url": url, "data": rows[:limit], "has_more": len(rows) > limit}


class Control:
    """What ``POST /_fake/<name>`` does with the JSON of its body; each answers JSON."""

    def __init__(self, books):
        self.books = books

    def reset(self, _):
        self.books.__init__()
        return {}

    def behave(self, wishes):
        """``latency_s``, ``slow_s`` (of pm_card_slow), ``limit_per_s``, ``is_down`` (500 to all), ``faults`` of writes.

        A fault is 500, 429, "lost" (it is done and the answer is lost) or "late" (the connection ends before it is done).
        """
        for name, value in wishes.items():
            setattr(self.books, name, deque(value) if name == "faults" else value)
        return {}

    def customer(self, wishes):
        """The customer completes 3-D Secure, or fails: ``intent``, ``is_good``. What was processing is decided too."""
        intent = self.books.intent(wishes["intent"])
        if wishes.get("is_good", True):
            self.books.capture(intent)
        else:
            self.books.decline(intent, "payment_intent_authentication_failure")
        return intent

    def plant(self, wishes):
        """A charge that nobody of ours has asked for."""
        return self.books.create(
            {"amount": "700", "currency": "eur", "payment_method": "pm_card_visa", "confirm": "true"} | wishes
        )

    def give_back(self, wishes):
        """Somebody refunds an ``intent`` in the provider's dashboard."""
        return self.books.refund({"payment_intent": wishes["intent"]})

    def state(self, _):
        books = self.books
        moments = sorted(books.arrivals)
        fullest = max((bisect_left(moments, begin + 1.0) - n for n, begin in enumerate(moments)), default=0)
        return {
            "intents": list(books.intents.values()),
            "refunds": list(books.refunds.values()),
            "events": books.events,
            "requests": len(moments),
            "fullest_second": fullest,
            "writes": len(books.writes),
            "written_at": books.writes,
            "refused": books.refused,
        }

    def deliver(self, wishes):
        """Send events to ``url``, signed with ``secret``: all, or those of these ``kinds``. ``order``: their places, as
        ``[1, 0, 0]``, so that they may come in any order and repeatedly. ``age_s``: how old the signature is."""
        with self.books.lock:
            events = [each for each in self.books.events if each["type"] in wishes.get("kinds", [each["type"]])]
        return [send(wishes, events[place]) for place in wishes.get("order", range(len(events)))]


def sign(body, secret, moment):
    digest = hmac.new(secret.encode(), f"{moment}.".encode() + body, hashlib.sha256).hexdigest()
    return f"t={moment},v1={digest}"


def send(wishes, event):
    body = json.dumps(event).encode()
    header = sign(body, wishes["secret"], int(time.time() - wishes.get("age_s", 0)))
    headers = {"Content-Type": "application/json", "Stripe-Signature": header}
    try:
        with urllib.request.urlopen(urllib.request.Request(wishes["url"], body, headers), timeout=10) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code


def form(text):
    """``a[b]=c`` as ``{"a": {"b": "c"}}``."""
    values = {}
    for name, value in parse_qsl(text, keep_blank_values=True):
        path = name.replace("]", "").split("[")
        place = values
        for part in path[:-1]:
            place = place.setdefault(part, {})
        place[path[-1]] = value
    return values


def shown(body, params):
    """As the API shows it: the charge of an intent by its id, unless the request asks for it whole."""
    body = json.loads(json.dumps(body))
    for each in body.get("data", [body]):
        if each.get("latest_charge") and "expand" not in params:
            each["latest_charge"] = each["latest_charge"]["id"]
    return body


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    books: Books
    control: Control

    def log_message(self, *_):
        pass

    def setup(self):
        super().setup()
        self.connection.setsockopt(6, 1, 1)  # no delay

    def do_GET(self):
        self.serve()

    def do_POST(self):
        self.serve()

    def serve(self):
        raw = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
        parts = urlsplit(self.path)
        if parts.path.startswith("/_fake/"):
            name = parts.path.removeprefix("/_fake/")
            wishes = json.loads(raw or "{}")
            if name == "deliver":  # which comes back to the shop, and the shop to us
                return self.answer(200, self.control.deliver(wishes))
            with self.books.lock:
                return self.answer(200, getattr(self.control, name)(wishes))
        params = form(raw if self.command == "POST" else parts.query)
        fault = self.arrive(params)
        if fault in (500, 429):
            kind = "rate_limit_error" if fault == 429 else "api_error"
            return self.answer(fault, {"error": {"type": kind, "message": "planted"}})
        if fault == "late":
            self.close_connection = True
            return None
        status, body, headers = self.once(parts.path, params)
        if fault == "lost":
            self.close_connection = True
            return None
        return self.answer(status, body, headers)

    def arrive(self, params):
        books = self.books
        with books.lock:
            moment = time.monotonic()
            books.arrivals.append(moment)
            if self.command == "POST":
                books.writes.append(moment)
            latency_s = books.latency_s + (books.slow_s if params.get("payment_method") == "pm_card_slow" else 0)
            fault = books.faults.popleft() if books.faults and self.command == "POST" else None
            if books.is_down:
                fault = 500
            elif (
                books.limit_per_s
                and sum(1 for at in books.arrivals[-2 * books.limit_per_s :] if at > moment - 1) > books.limit_per_s
            ):
                books.refused += 1
                fault = 429
        time.sleep(latency_s)
        return fault

    def once(self, path, params):
        """The answer, the same one to the same idempotency key."""
        if self.headers.get("Authorization", "") in ("", "Bearer sk_wrong"):
            return 401, {"error": {"type": "invalid_request_error", "message": "Invalid API Key"}}, {}
        key = self.headers.get("Idempotency-Key", "") if self.command == "POST" else ""
        digest = hashlib.sha256(json.dumps([path, params], sort_keys=True).encode()).hexdigest()
        with self.books.lock:
            if key in self.books.keys:
                known = self.books.keys[key]
                if known[0] != digest:
                    error = {"type": "idempotency_error", "message": "Keys can only be used with the same parameters."}
                    return 400, {"error": error}, {}
                if known[1] is None:
                    return 409, {"error": {"type": "invalid_request_error", "code": "idempotency_key_in_use"}}, {}
                return known[1], known[2], {"Idempotent-Replayed": "true"}
            if key:
                self.books.keys[key] = [digest, None, None]
            try:
                status, body = 200, shown(self.route(path, params), params)
            except Refusal as refusal:
                status, body = refusal.status, json.loads(json.dumps(refusal.body))
            if key:
                self.books.keys[key] = [digest, status, body]
            return status, body, {}

    def route(self, path, params):
        books = self.books
        parts = path.strip("/").split("/")[1:]
        match (self.command, *parts):
            case ("POST", "payment_intents"):
                return books.create(params)
            case ("GET", "payment_intents"):
                return books.page(list(books.intents.values()), params, path)
            case ("GET", "payment_intents", "search"):
                name, _, value = params["query"].partition("']:'")
                name = name.removeprefix("metadata['")
                found = [each for each in books.intents.values() if each["metadata"].get(name) == value.rstrip("'")]
                return {"object": "search_result", "url": path, "data": found, "has_more": False}
            case ("GET", "payment_intents", pk):
                return books.intent(pk)
            case ("POST", "payment_intents", pk, "confirm"):
                intent = books.intent(pk)
                if params.get("client_secret", intent["client_secret"]) != intent["client_secret"]:
                    raise Refusal(401, "invalid_request_error", "client_secret_invalid")
                books.confirm(intent, params.get("payment_method", intent["payment_method"]))
                return intent
            case ("POST", "payment_intents", pk, "cancel"):
                books.cancel(books.intent(pk))
                return books.intent(pk)
            case ("POST", "refunds"):
                return books.refund(params)
            case ("GET", "refunds"):
                rows = [each for each in books.refunds.values() if each["payment_intent"] == params.get("payment_intent")]
                return books.page(rows, params, path)
        raise Refusal(404, "invalid_request_error", "url_invalid", path)

    def answer(self, status, body, headers=None):
        raw = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(raw)))
        self.send_header("Request-Id", "req_fake")
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(raw)


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256


def main(port):
    Handler.books = Books()
    Handler.control = Control(Handler.books)
    with Server(("127.0.0.1", port), Handler) as server:
        server.serve_forever(poll_interval=0.05)


if __name__ == "__main__":
    main(int(sys.argv[1]))
