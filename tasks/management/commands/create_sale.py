from argparse import ArgumentParser
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import transaction
from django.utils.dateparse import parse_datetime

from flashsale.core.clock import now
from flashsale.core.errors import Invalid
from inventory import services
from inventory.models import MOST_UNITS, SaleItem
from tasks import gate_sync


def _money(text: str) -> Decimal:
    try:
        return Decimal(text)
    except InvalidOperation as error:
        raise ValueError(text) from error


def _moment(text: str) -> datetime:
    moment = parse_datetime(text)
    if moment is None:
        raise ValueError(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _seconds(text: str) -> timedelta:
    try:
        return timedelta(seconds=float(text))
    except OverflowError as error:
        raise ValueError(text) from error


class Command(BaseCommand):
    help = "A sale with one item, open at once unless told otherwise, its gate warmed."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("slug")
        parser.add_argument("--sku", required=True)
        parser.add_argument("--units", type=int, required=True)
        parser.add_argument("--price", type=_money, required=True)
        parser.add_argument("--currency", default="EUR")
        parser.add_argument("--per-customer", type=int, default=1)
        parser.add_argument("--opens-at", type=_moment, default=None, help="RFC 3339; now when left out")
        parser.add_argument("--closes-at", type=_moment, default=None, help="RFC 3339; a week after it opens when left out")
        parser.add_argument("--payment-window", type=_seconds, default=timedelta(minutes=10), help="seconds")
        parser.add_argument("--waiting-room", type=int, default=None, metavar="RATE", help="customers called up per second")

    def handle(self, *args: Any, **options: Any) -> None:
        if not 0 <= options["units"] <= MOST_UNITS:
            raise CommandError(f"--units is 0 to {MOST_UNITS}")
        try:
            item = self._create(options)
        except Invalid as error:
            raise CommandError(error.detail) from error
        gate_sync.refresh_gates([item.pk])
        self.stdout.write(f"sale {options['slug']}: item {item.pk}, {options['units']} x {options['sku']}")

    @transaction.atomic
    def _create(self, options: dict[str, Any]) -> SaleItem:
        opens_at = options["opens_at"] or now()
        sale = services.create_sale(
            slug=options["slug"],
            name=options["slug"],
            opens_at=opens_at,
            closes_at=options["closes_at"] or opens_at + timedelta(days=7),
            payment_window=options["payment_window"],
            waiting_room_rate=options["waiting_room"],
        )
        return services.add_item(
            sale=sale,
            sku=options["sku"],
            name=options["sku"],
            units=options["units"],
            price=options["price"],
            currency=options["currency"],
            per_customer=options["per_customer"],
        )
