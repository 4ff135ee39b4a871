"""The answers that are the same for all customers: sale pages, refusals of purchase tokens, numbers of waiting rooms.

Only changed answers are built again.
"""

import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from flashsale.core.clock import now
from flashsale.core.errors import FlashsaleError
from flashsale.gateway.edge_answers import TIME, EdgeAnswer
from flashsale.web.middleware.answer_headers import OF_API
from flashsale.web.problem import CONTENT_TYPE, problem_of
from inventory import catalog, selectors
from inventory.admission import gate, waiting_room
from inventory.answers import PUBLIC, line_of
from inventory.models import Sale

_IN_DEMAND = timedelta(hours=1)  # before the opening, and after the end
_MOST_SALES = 100  # newest sales in demand. The gateway parses all routes at each change, 0.5 ms per sale
_LINE_EVERY_S = 1.0  # numbers change with every turn, but new routes once a second are enough
_JSON = "application/json"
_SALES = "/api/v1/sales/"
_ALWAYS = (*OF_API, ("Vary", "origin"))
_Line = waiting_room.Numbers | FlashsaleError


@dataclass(frozen=True, slots=True)
class _Listed:
    sale: Sale
    items: dict[int, str]
    stocks: dict[int, int | None]  # last values, used for sales that are not in demand

    def is_in_demand(self, moment: datetime) -> bool:
        return self.sale.opens_at - _IN_DEMAND <= moment <= self.sale.closes_at + _IN_DEMAND


@dataclass(frozen=True, slots=True)
class _Made:
    """The page of a sale, and the data that it was built from."""

    of: tuple[Any, ...]
    page: str
    answers: tuple[EdgeAnswer, ...]


class PublicAnswers:
    """The answers for all sales in demand, and for their list."""

    def __init__(self) -> None:
        self._read: Mapping[str, Sale] = {}
        self._listed: list[_Listed] = []
        self._made: dict[str, _Made] = {}
        self._lines: dict[int, tuple[float, _Line]] = {}

    def look(self) -> list[EdgeAnswer]:
        """The current public answers. Advances waiting rooms.

        Raises:
            GateUnavailable, django.db.Error: Redis or PostgreSQL did not answer.
        """
        moment = now()
        self._list()
        wanted = [listed for listed in self._listed if listed.is_in_demand(moment)][:_MOST_SALES]
        announced = gate.announced([item for listed in wanted for item in listed.items])
        self._watch([item for listed in wanted if listed.sale.waiting_room_rate is not None for item in listed.items])
        self._made = {listed.sale.slug: self._page(listed, announced, moment) for listed in self._listed}
        answers = [answer for listed in wanted for answer in self._made[listed.sale.slug].answers]
        return [*answers, _page(_SALES, f"[{','.join(made.page for made in self._made.values())}]")]

    def _list(self) -> None:
        read = catalog.listed()
        if read is not self._read:
            stocks = catalog.stocks()
            self._listed = [_listed(sale, stocks) for sale in read.values()]
            self._read = read

    def _watch(self, items: list[int]) -> None:
        """Publish a line's numbers once a second, and its end at once."""
        lines: dict[int, tuple[float, _Line]] = {}
        for item, line in waiting_room.watch(items).items():
            told_at, told = self._lines.get(item, (0.0, None))
            is_young = time.monotonic() - told_at < _LINE_EVERY_S
            is_same = told == line or (is_young and isinstance(told, waiting_room.Numbers) and type(told) is type(line))
            lines[item] = (told_at, told) if told is not None and is_same else (time.monotonic(), line)
        self._lines = lines

    def _page(self, listed: _Listed, announced: Mapping[int, gate.Announced], moment: datetime) -> _Made:
        sale, slug = listed.sale, listed.sale.slug
        stocks = {item: announced[item].left if item in announced else listed.stocks[item] for item in listed.items}
        refusals = {item: error for item in listed.items if item in announced and (error := announced[item].refusal)}
        lines = {item: self._lines[item][1] for item in listed.items if item in self._lines}
        state = selectors.public_state(sale.state, sale.opens_at, sale.closes_at, moment)
        of = (sale, state, stocks, {item: error.code for item, error in refusals.items()}, lines)
        before = self._made.get(slug)
        if before is not None and before.of[0] is sale and before.of[1:] == of[1:]:
            return before
        page = _text(catalog.view_of(sale, stocks, moment) | {"server_time": TIME})
        return _Made(of, page, tuple(_answers(listed, page, refusals, lines)))


def _listed(sale: Sale, stocks: Mapping[int, int | None]) -> _Listed:
    items = {int(item.pk): item.product.sku for item in sale.items.all()}
    return _Listed(sale, items, {item: stocks.get(item) for item in items})


def _answers(
    listed: _Listed, page: str, refusals: Mapping[int, FlashsaleError], lines: Mapping[int, _Line]
) -> Iterator[EdgeAnswer]:
    path = f"{_SALES}{listed.sale.slug}/"
    yield _page(path, page)
    for item, refusal in refusals.items():
        yield _refusal("POST", f"{path}items/{listed.items[item]}/purchase-tokens/", refusal, signed_in=True)
    for item, line in lines.items():
        yield _line(f"{path}items/{listed.items[item]}/waiting-room/", line)


def _line(path: str, line: _Line) -> EdgeAnswer:
    if isinstance(line, FlashsaleError):
        return _refusal("GET", path, line)
    return _page(path, _text(line_of(line).values))


def _page(path: str, text: str) -> EdgeAnswer:
    return EdgeAnswer("GET", path, 200, _JSON, text, (*PUBLIC.items(), *_ALWAYS))


def _refusal(method: str, path: str, error: FlashsaleError, *, signed_in: bool = False) -> EdgeAnswer:
    answer = problem_of(error)
    headers = (("Cache-Control", "no-store"), *answer.headers.items(), *_ALWAYS)
    return EdgeAnswer(method, path, answer.status, CONTENT_TYPE, _text(answer.values), headers, signed_in=signed_in)


def _text(values: Any) -> str:
    return json.dumps(values, ensure_ascii=False, separators=(",", ":"))
