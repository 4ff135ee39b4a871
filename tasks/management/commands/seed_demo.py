from argparse import ArgumentParser
from datetime import timedelta
from decimal import Decimal
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.management.base import BaseCommand, CommandError

from flashsale.accounts import names
from flashsale.core.clock import now
from inventory import selectors, services
from inventory.models import Sale
from tasks.repair import gate_sync

_ITEMS = (
    ("sneaker", "Court sneaker, night edition", 100, "129.00", "159.00", 2),
    ("hoodie", "Heavy hoodie, oat", 250, "69.00", "89.00", 3),
    ("poster", "Signed poster, numbered", 40, "25.00", None, 1),
)


class Command(BaseCommand):
    help = "Create a staff user (staff/staff), a customer (customer/customer) and the sale `demo`. May run twice."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--force", action="store_true", help="also use a database that is not the embedded one")

    def handle(self, *args: Any, **options: Any) -> None:
        if not (settings.DATABASE_IS_EMBEDDED or settings.ALLOW_DEMO_DATA or options["force"]):
            raise CommandError(
                "DATABASE_URL is not the embedded server, and the demo's passwords (staff/staff) are public. "
                "Use `manage.py createsuperuser` to create an account, or --force or ALLOW_DEMO_DATA=1 to create the demo."
            )
        users = get_user_model().objects
        if not names.is_taken("staff"):
            users.create_superuser("staff", "staff@example.com", "staff")
        if not names.is_taken("customer"):
            users.create_user("customer", "customer@example.com", "customer")
        if not Sale.objects.filter(slug="demo").exists():
            self._sale()
        gate_sync.refresh_gates(selectors.items_of_sale("demo"))
        self.stdout.write("demo created: staff/staff, customer/customer, sale `demo`")

    def _sale(self) -> None:
        sale = services.create_sale(
            slug="demo",
            name="The demo drop",
            opens_at=now(),
            closes_at=now() + timedelta(days=365),
            payment_window=timedelta(minutes=10),
        )
        for sku, name, units, price, list_price, per_customer in _ITEMS:
            services.add_item(
                sale=sale,
                sku=sku,
                name=name,
                units=units,
                price=Decimal(price),
                list_price=None if list_price is None else Decimal(list_price),
                per_customer=per_customer,
            )
