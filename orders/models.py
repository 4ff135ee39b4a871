"""Orders, their history, and the two outboxes that make every step repeatable."""

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import F, Q
from django.db.models.fields.json import KT
from django.db.models.functions import Left, Now

from flashsale.core.money import AmountField
from orders.states import OrderStatus

LOST = "lost"  # the reason of an order that was admitted and lost with the gate before the ledger had it
PRICE_MISMATCH = "price_mismatch"  # the reason of an order at a price that its item did not have
POISONED = "poisoned"  # the reason of an order that the ledger cannot take as it is
WRITTEN_OFF = (LOST, POISONED)
RESTOCKED = "restocked"  # the reason of a refunded order whose units are on sale again: its customer has none of them
# What orders are looked up by in the intake. Cut: an index takes no long values, and the payload of a spoilt order may be long.
CUSTOMER_TEXT = Left(KT("payload__customer"), 20)
SOURCE_TEXT = Left(KT("payload__source"), 32)
SEQ_TEXT = Left(KT("payload__seq"), 128)


class Order(models.Model):
    """One customer's order of one item.

    Of an order that was written off only the id, the customer and the item are kept: its quantity is 0, its source empty,
    its seq the id.
    ``seq`` is the sender's own number; a row rejected because another item's order took its (source, seq) keeps it as
    ``<seq>~<id>``, which no sender can send.
    """

    id = models.UUIDField(primary_key=True)
    customer = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="orders", db_index=False)
    item = models.ForeignKey("inventory.SaleItem", on_delete=models.PROTECT, related_name="orders")
    sku = models.CharField(max_length=64)
    quantity = models.PositiveIntegerField()
    unit_price = AmountField()
    currency = models.CharField(max_length=3)
    terms_version = models.PositiveBigIntegerField(
        null=True, help_text="Of the item's terms that the price is of; empty where the gate did not know."
    )
    limit_version = models.PositiveBigIntegerField(
        null=True,
        help_text="Of the terms whose limit per customer it was admitted under; empty where the gate did not know.",
    )
    source = models.CharField(max_length=32)
    seq = models.CharField(max_length=128)
    digest = models.CharField(max_length=64, help_text="SHA-256 of the request that made the order.")
    payment_method = models.CharField(max_length=32, blank=True)
    status = models.CharField(max_length=16, choices=OrderStatus.choices)
    reason = models.CharField(max_length=64, blank=True, help_text="Why it was rejected, cancelled or refunded.")
    admitted_at = models.DateTimeField()
    created_at = models.DateTimeField(db_default=Now())
    expires_at = models.DateTimeField()
    updated_at = models.DateTimeField(db_default=Now())
    # Appended to by the statement that takes the step; read as ``history``, which has the lines of old orders too.
    steps = models.JSONField(db_default=[], help_text="Its history: status, reason, actor, at of each step.")

    class Meta:
        ordering = ["-id"]
        permissions = [("cancel_order", "Can cancel orders"), ("refund_order", "Can refund orders")]
        constraints = [
            models.UniqueConstraint(fields=["source", "seq"], name="order_once_per_source_and_seq"),
            models.CheckConstraint(
                name="order_quantity_positive_unless_written_off",
                condition=Q(quantity__gte=1) | Q(quantity=0, status="rejected", reason__in=WRITTEN_OFF),
            ),
        ]
        indexes = [
            models.Index(fields=["customer", "-id"], name="order_by_customer"),
            models.Index(fields=["expires_at"], name="order_unpaid_by_deadline", condition=Q(status="pending_payment")),
            models.Index(fields=["updated_at"], name="order_reserved_by_age", condition=Q(status="reserved")),
        ]

    def __str__(self) -> str:
        return str(self.pk)


class OrderEvent(models.Model):
    """One line of an order's history: a view of ``Order.steps`` and of the lines of orders from before there were any."""

    order = models.ForeignKey(Order, on_delete=models.CASCADE, related_name="history", db_index=False, db_constraint=False)
    status = models.CharField(max_length=16, choices=OrderStatus.choices)
    reason = models.CharField(max_length=64, blank=True)
    actor = models.CharField(max_length=150, blank=True, help_text="Who did it, when it was a person.")
    at = models.DateTimeField(db_default=Now())

    class Meta:
        managed = False
        ordering = ["id"]

    def __str__(self) -> str:
        return self.status


class EventLine(models.Model):
    """A line of the history from before ``Order.steps``; a release that still writes lines writes them through the view."""

    order_id = models.UUIDField()
    status = models.CharField(max_length=16, choices=OrderStatus.choices)
    reason = models.CharField(max_length=64, blank=True)
    actor = models.CharField(max_length=150, blank=True)
    at = models.DateTimeField(db_default=Now())

    class Meta:
        indexes = [models.Index(fields=["order_id", "id"], name="event_by_order")]

    def __str__(self) -> str:
        return self.status


class Intake(models.Model):
    """An admitted order whose units the ledger has decided on, until ``create_orders`` has made it an Order.

    Written in the transaction of the decision, so the stream may be acknowledged after it: from then on this row is the
    record of the order. It stays the record of an order that was rejected as poisoned and cannot be a row, because its
    customer or item is gone.
    """

    id = models.UUIDField(primary_key=True)
    item_id = models.BigIntegerField()
    payload = models.JSONField(help_text="The order as admitted; see inventory.admission.admitted.AdmittedOrder.")
    reason = models.CharField(max_length=64, blank=True, help_text="Why the ledger has no units for it; empty: it has.")
    created_at = models.DateTimeField(db_default=Now())
    failures = models.PositiveSmallIntegerField(db_default=0, help_text="How often it could not be made a row.")
    retry_at = models.DateTimeField(null=True, help_text="Sweeps leave it alone until then.")

    class Meta:
        indexes = [
            models.Index(
                fields=["failures", "created_at"], name="intake_by_failures_and_age", condition=~Q(reason__in=WRITTEN_OFF)
            ),
            models.Index(CUSTOMER_TEXT, F("item_id"), name="intake_by_customer"),
            models.Index(SOURCE_TEXT, SEQ_TEXT, name="intake_by_source_and_seq"),
            models.Index(fields=["item_id"], name="intake_by_item"),
        ]

    def __str__(self) -> str:
        return str(self.pk)


class GateEffect(models.Model):
    """What the gate still has to be told of an order, as the release before writes it; now see ``EffectBatch``."""

    class Kind(models.TextChoices):
        SETTLE = "settle"
        RELEASE = "release"
        EXPIRED = "expired"  # a release that counts against its customer; who does not know it releases
        REBUILD = "rebuild"  # the gate is wrong about this order

    order_id = models.UUIDField()
    item_id = models.BigIntegerField()
    kind = models.CharField(max_length=8, choices=Kind.choices)
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        indexes = [models.Index(fields=["created_at"], name="effect_by_age")]

    def __str__(self) -> str:
        return f"{self.kind} {self.order_id}"


class EffectBatch(models.Model):
    """What the gate still has to be told of orders of one item: written with the ledger's change, deleted once the gate knows.

    A table of its own: a release that knows only ``GateEffect`` would tell the gate of one order and forget the others.
    """

    item_id = models.BigIntegerField()
    kind = models.CharField(max_length=8, choices=GateEffect.Kind.choices)
    order_ids = ArrayField(models.UUIDField())
    created_at = models.DateTimeField(db_default=Now())

    def __str__(self) -> str:
        return f"{self.kind} {len(self.order_ids)} orders"
