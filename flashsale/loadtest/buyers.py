"""Simulated buyers. Each requests a purchase token and orders with it at a fixed time (open loop)."""

import json
import random
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any
from urllib.parse import urlsplit

from flashsale.loadtest.http import NO_ANSWER, Answer, Request, Script
from flashsale.loadtest.tally import Tally

_ATTEMPTS = 4
_FIRST_PAUSE_S = 0.2
_LONGEST_SIGN_IN_S = 60.0  # a person gives up after this
_ASK_AGAIN = (NO_ANSWER, 429, 503)


@dataclass(frozen=True, slots=True)
class Plan:
    """``rate``: arrivals per second, evenly spaced. ``began``: start in ``time.monotonic()``. Other fields: what to buy."""

    url: str
    slug: str
    sku: str
    rate: float
    began: float
    seed: int = 1

    def as_values(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)


class Buyers:
    """The buyers of one process."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._host = urlsplit(plan.url).netloc
        self._chance = random.Random(plan.seed)  # noqa: S311 - a repeatable plan, not a secret
        self.tally = Tally()
        self.done = 0

    def buyer(self, number: int, credential: str | Sequence[str]) -> Script:
        """One visit.

        Args:
            number: the buyer's number, part of the order's ``seq``.
            credential: an access token, or the name and password to sign in with.
        """
        arrival = int(number / self._plan.rate)
        self.tally.offered[arrival] += 1
        jwt = credential if isinstance(credential, str) else (yield from self._sign_in(*credential))
        if jwt is None:
            self.tally.shed["not_signed_in"][self._second()] += 1
            self.done += 1
            return
        path = f"/api/v1/sales/{self._plan.slug}/items/{self._plan.sku}/purchase-tokens/"
        answer = yield from self._send("token", path, {}, jwt)
        if answer.status == 202:
            answer = yield from self._wait_in_line(json.loads(answer.body), jwt)
        if answer.status in (200, 201):
            body: dict[str, Any] = {
                "token": json.loads(answer.body)["token"],
                "sku": self._plan.sku,
                "quantity": 1,
                "source": "rehearsal",
                "seq": f"{self._plan.slug}-{number}",
            }
            method = self._method()
            if method:
                body["payment_method"] = method
            answer = yield from self._send("order", "/api/v1/orders/", body, jwt)
        self._count(arrival, answer)
        self.done += 1

    def _wait_in_line(self, place: dict[str, Any], jwt: str) -> Any:
        """Wait in line by its public numbers, as the storefront does. Returns the final answer: a token or a refusal."""
        line = self._get(f"/api/v1/sales/{self._plan.slug}/items/{self._plan.sku}/waiting-room/", None)
        ticket = self._get(f"/api/v1/waiting-room/{place['ticket']}/", jwt)
        asked_at, wait_s, unanswered = time.monotonic(), float(place["retry_after"]), 0
        while unanswered < _ATTEMPTS:
            answer = yield Request("line", line, wait_s)
            if answer.status == 200:
                numbers, silence_s = json.loads(answer.body), time.monotonic() - asked_at
                wait_s = numbers["retry_after"] * self._chance.uniform(0.8, 1.2)
                is_near = place["number"] <= numbers["check_in"] and silence_s + wait_s > numbers["check_in_every"]
                if is_near or place["number"] <= numbers["now_serving"]:
                    asked_at = time.monotonic()
                    answer = yield Request("ticket", ticket)
                    if answer.status == 200 and "token" in json.loads(answer.body):
                        break
            if answer.status not in (200, *_ASK_AGAIN) and _code(answer) != "paused":
                break
            unanswered = unanswered + 1 if answer.status in _ASK_AGAIN else 0
        return answer

    def _sign_in(self, username: str, password: str) -> Any:
        """Sign in. Returns an access token, or None on timeout. A refused request is repeated after its Retry-After."""
        data = self._request("/api/v1/auth/token/", {"username": username, "password": password}, None)
        began, wait_s = time.monotonic(), 0.0
        while time.monotonic() - began < _LONGEST_SIGN_IN_S:
            answer = yield Request("sign-in", data, wait_s)
            if answer.status == 200:
                self.tally.sign_ins_ms.append(1000 * (time.monotonic() - began))
                return json.loads(answer.body)["access"]
            self.tally.sign_ins_refused[_code(answer)] += 1
            wait_s = _retry_after_s(answer)
        self.tally.sign_ins_given_up += 1
        return None

    def _second(self) -> int:
        return int(time.monotonic() - self._plan.began)

    def _method(self) -> str | None:
        """Choose a method: most pay at once, some are declined, some pay later."""
        draw = self._chance.random()
        return "pm_ok" if draw < 0.9 else "pm_declined" if draw < 0.95 else None

    def _send(self, kind: str, path: str, body: dict[str, Any], jwt: str) -> Any:
        """Send the order and return the last answer. After a lost answer or a 503 it is sent again with the same seq."""
        data = self._request(path, body, jwt)
        answer = yield Request(kind, data)
        for attempt in range(1, _ATTEMPTS):
            if answer.status not in (NO_ANSWER, 503):
                break
            self._note_failure(answer)
            answer = yield Request(kind, data, _FIRST_PAUSE_S * 2**attempt * (0.5 + self._chance.random()))
        if answer.status >= 500 and answer.status != 503:
            self.tally.server_errors[f"{answer.status} {path}"] += 1
        return answer

    def _note_failure(self, answer: Answer) -> None:
        if answer.status == 503 and _code(answer) != "busy":
            self.tally.server_errors["503"] += 1

    def _request(self, path: str, body: dict[str, Any], jwt: str | None) -> bytes:
        content = json.dumps(body).encode()
        credential = f"Authorization: Bearer {jwt}\r\n" if jwt else ""
        head = (
            f"POST {path} HTTP/1.1\r\nHost: {self._host}\r\n{credential}"
            f"Content-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n"
        )
        return head.encode() + content

    def _get(self, path: str, jwt: str | None) -> bytes:
        credential = f"Authorization: Bearer {jwt}\r\n" if jwt else ""
        return f"GET {path} HTTP/1.1\r\nHost: {self._host}\r\n{credential}\r\n".encode()

    def _count(self, arrival: int, answer: Answer) -> None:
        second = self._second()
        fleet = self.tally.fleets[_fleet(answer)]
        fleet.offered[arrival] += 1
        if answer.status == 202:
            fleet.admitted[second] += 1
            self.tally.admitted[second] += 1
            self.tally.orders.append(json.loads(answer.body)["id"])
            return
        code = _code(answer)
        fleet.limited[second] += code == "rate_limited"
        self.tally.shed[code][second] += 1


def _fleet(answer: Answer) -> str:
    """Who answered: the gateway, unless a fleet says that it did."""
    mark = answer.head.lower().find(b"\r\nx-fleet:")
    return "gateway" if mark < 0 else answer.head[mark + 10 :].split(b"\r\n", 1)[0].strip().decode()


def _retry_after_s(answer: Answer) -> float:
    mark = answer.head.lower().find(b"\r\nretry-after:")
    return 2.0 if mark < 0 else float(answer.head[mark + 14 :].split(b"\r\n", 1)[0])


def _code(answer: Answer) -> str:
    if answer.status == NO_ANSWER:
        return "no_answer"
    try:
        return str(json.loads(answer.body)["code"])
    except (ValueError, KeyError, TypeError):
        return str(answer.status)
