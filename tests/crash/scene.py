"""A sale of its own for each point, with the orders that are on their way when the process dies."""

from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal

from django.contrib.auth import get_user_model
from django.utils.text import slugify

from flashsale.core.clock import now
from flashsale.core.redis_client import gate_client
from inventory import services
from inventory.admission import gate, keys
from orders import placement
from tests.conftest import open_gate

UNITS = 5
METHODS = {
    "chain": ("pm_ok", "pm_ok", "pm_unknown"),
    "stolen": ("pm_ok", "pm_ok", "pm_unknown"),
    "expiry": ("", "", ""),
    "refund": ("pm_ok",),
}
END_STATES = {"expiry": "cancelled", "refund": "refunded", "cancel": "cancelled"}  # of the others: paid


@dataclass(frozen=True)
class Sale:
    """``slug``, its one item, and its customers."""

    slug: str
    item: int
    customers: list[int]

    def sleep(self):
        """Nobody is woken for this item: its orders wait until the test sends the wake-up itself."""
        gate_client().hset(keys.meta(self.item), "awake_until", 9_999_999_999_999_999)

    def wake(self):
        """The next order wakes the dispatcher."""
        gate_client().hdel(keys.meta(self.item), "awake_until")

    def request(self, customer, method, *, seq="1"):
        """An order that nobody has sent yet."""
        token = gate.issue_token(self.item, customer).token
        return placement.OrderRequest(token, "thing", 1, self.slug[:32].strip("-"), f"{customer}.{seq}", method)


def open_sale(name, *, customers=3, window_s=600, units=UNITS):
    """A sale with one item and an open gate."""
    slug = slugify(name)[:60]
    sale = services.create_sale(
        slug=slug,
        name=name[:60],
        opens_at=now() - timedelta(minutes=1),
        closes_at=now() + timedelta(hours=1),
        payment_window=timedelta(seconds=window_s),
    )
    item = services.add_item(sale=sale, sku="thing", name="thing", units=units, price=Decimal("10.00"))
    open_gate(item.pk)
    model = get_user_model()
    names = [f"{slug}-{number}" for number in range(customers)]
    model.objects.bulk_create([model(username=each, password="!") for each in names])
    return Sale(slug, item.pk, list(model.objects.filter(username__in=names).order_by("pk").values_list("pk", flat=True)))
