from argparse import ArgumentParser
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import IntegrityError, transaction
from django.utils.dateparse import parse_datetime

from flashsale.core import money
from flashsale.core.clock import now
from flashsale.core.errors import FlashsaleError, Invalid
from inventory import services
from inventory.models import MOST_PER_CUSTOMER, MOST_UNITS, SaleItem
from tasks.repair import gate_sync


def _whole(low: int, high: int) -> Callable[[Any], int]:
    def read(value: Any) -> int:
        found = int(str(value))
        if not low <= found <= high:
            raise ValueError
        return found

    return read


def _money(value: Any) -> Decimal:
    return money.parse(str(value))


def _moment(value: Any) -> datetime:
    moment = parse_datetime(str(value))
    if moment is None:
        raise ValueError
    return services.within_reach(moment if moment.tzinfo else moment.replace(tzinfo=UTC))


def _seconds(value: Any) -> timedelta:
    return value if isinstance(value, timedelta) else timedelta(seconds=float(str(value)))


# option -> parser, and the allowed values for the error message
_READ: dict[str, tuple[Callable[[Any], Any], str]] = {
    "units": (_whole(0, MOST_UNITS), f"must be a whole number from 0 to {MOST_UNITS}"),
    "price": (_money, "must be an amount in plain digits such as 9.90, greater than or equal to 0"),
    "per_customer": (
        _whole(1, MOST_PER_CUSTOMER),
        f"must be a whole number greater than 0 and at most {MOST_PER_CUSTOMER}",
    ),
    "opens_at": (_moment, f"must be an RFC 3339 time {services.REACH}"),
    "closes_at": (_moment, f"must be an RFC 3339 time {services.REACH}"),
    "payment_window": (_seconds, "must be a number of seconds"),
    "waiting_room": (_whole(1, 10_000), "must be a whole number of customers per second, from 1 to 10000"),
}


def _read(options: dict[str, Any]) -> dict[str, Any]:
    """Parse all values before anything is written."""
    values = dict(options)
    for name, (read, wanted) in _READ.items():
        if options[name] is None:
            continue
        try:
            values[name] = read(options[name])
        except (ValueError, ArithmeticError, InvalidOperation) as error:
            raise CommandError(f"--{name.replace('_', '-')} {wanted}, not {str(options[name])[:60]!r}") from error
    return values


class Command(BaseCommand):
    help = "Create a sale with one item and its gate. The sale opens at once unless --opens-at is given."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("slug")
        parser.add_argument("--sku", required=True)
        parser.add_argument("--units", required=True)
        parser.add_argument("--price", required=True)
        parser.add_argument("--currency", default="EUR")
        parser.add_argument("--per-customer", default="1")
        parser.add_argument("--opens-at", default=None, help="opening time (RFC 3339); default: now")
        parser.add_argument("--closes-at", default=None, help="closing time (RFC 3339); default: a week after opening")
        parser.add_argument("--payment-window", default="600", help="seconds until an unpaid order is cancelled; default: 600")
        parser.add_argument(
            "--waiting-room", default=None, metavar="RATE", help="use a waiting room that calls up RATE customers per second"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        values = _read(options)
        try:
            item = self._create(values)
        except Invalid as error:
            raise CommandError(error.detail) from error
        except IntegrityError as error:
            raise CommandError(f"Another process is creating this sale. Nothing was written. {error}".strip()) from error
        self.stdout.write(f"sale {values['slug']}: item {item.pk}, {values['units']} x {values['sku']}")
        try:
            gate_sync.refresh_gates([item.pk])
        except FlashsaleError as error:
            self.stderr.write(
                f"The sale was created but is not open yet: {error.detail} A sweep opens it as soon as Redis is available."
            )

    @transaction.atomic
    def _create(self, values: dict[str, Any]) -> SaleItem:
        opens_at = values["opens_at"] or now()
        sale = services.create_sale(
            slug=values["slug"],
            name=values["slug"],
            opens_at=opens_at,
            closes_at=values["closes_at"] or opens_at + timedelta(days=7),
            payment_window=values["payment_window"],
            waiting_room_rate=values["waiting_room"],
        )
        return services.add_item(
            sale=sale,
            sku=values["sku"],
            name=values["sku"],
            units=values["units"],
            price=values["price"],
            currency=values["currency"],
            per_customer=values["per_customer"],
        )
