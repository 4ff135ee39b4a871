"""Orders, their history, and the intake and outbox tables that make every step repeatable."""

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import F, Q
from django.db.models.fields.json import KT
from django.db.models.functions import Left, Now

from flashsale.core.money import AmountField
from orders.states import OrderStatus

LOST = "lost"  # admitted, but Redis lost the order before it reached PostgreSQL
PRICE_MISMATCH = "price_mismatch"  # the order's price was never a price of its item
POISONED = "poisoned"  # PostgreSQL cannot store the order as it is
WRITTEN_OFF = (LOST, POISONED)
RESTOCKED = "restocked"  # refunded and its units put back on sale, so they no longer count for the customer
# Lookup expressions for the intake. Values are truncated, because index entries have a maximum size.
CUSTOMER_TEXT = Left(KT("payload__customer"), 20)
SOURCE_TEXT = Left(KT("payload__source"), 32)
SEQ_TEXT = Left(KT("payload__seq"), 128)


class Order(models.Model):
    """One customer's order of one item.

    A written-off order keeps only its id, customer and item. Its quantity is 0, its source is empty and its seq is its id.
    ``seq`` is the sender's own number. If an order is rejected because another order already uses its (source, seq), its seq
    is stored as ``<seq>~<id>``, which the API does not accept from a sender.
    """

    id = models.UUIDField(primary_key=True)
    customer = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="orders", db_index=False)
    item = models.ForeignKey("inventory.SaleItem", on_delete=models.PROTECT, related_name="orders")
    sku = models.CharField(max_length=64)
    quantity = models.PositiveIntegerField()
    unit_price = AmountField()
    currency = models.CharField(max_length=3)
    terms_version = models.PositiveBigIntegerField(
        null=True, help_text="Version of the item's terms that set the price. Empty if the gate did not record it."
    )
    limit_version = models.PositiveBigIntegerField(
        null=True,
        help_text="Version of the item's terms that set the limit per customer. Empty if the gate did not record it.",
    )
    source = models.CharField(max_length=32)
    seq = models.CharField(max_length=128)
    digest = models.CharField(max_length=64, help_text="SHA-256 digest of the request that placed the order.")
    payment_method = models.CharField(max_length=32, blank=True)
    status = models.CharField(max_length=16, choices=OrderStatus.choices)
    reason = models.CharField(max_length=64, blank=True, help_text="Why the order was rejected, cancelled or refunded.")
    admitted_at = models.DateTimeField()
    created_at = models.DateTimeField(db_default=Now())
    expires_at = models.DateTimeField()
    updated_at = models.DateTimeField(db_default=Now())
    # The statement that moves the order appends to it. Read ``history`` instead, which also contains the lines of old orders.
    steps = models.JSONField(db_default=[], help_text="History of the order: status, reason, actor and time of each step.")

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
    """One line of an order's history: a view over ``Order.steps`` and the older ``EventLine`` table."""

    order = models.ForeignKey(Order, on_delete=models.CASCADE, related_name="history", db_index=False, db_constraint=False)
    status = models.CharField(max_length=16, choices=OrderStatus.choices)
    reason = models.CharField(max_length=64, blank=True)
    actor = models.CharField(max_length=150, blank=True, help_text="The user who made the change, if a person did.")
    at = models.DateTimeField(db_default=Now())

    class Meta:
        managed = False
        ordering = ["id"]

    def __str__(self) -> str:
        return self.status


class EventLine(models.Model):
    """A history line from before ``Order.steps`` existed. A release that still writes lines writes them through the view."""

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
    """An admitted order that PostgreSQL has accepted or refused, until ``create_orders`` turns it into an ``Order``.

    The row is written in the same transaction as the stock change, and the stream entry is acknowledged after the commit. From
    then on this row is the record of the order. A poisoned order whose customer or item no longer exists stays here for good.
    """

    id = models.UUIDField(primary_key=True)
    item_id = models.BigIntegerField()
    payload = models.JSONField(help_text="The order as admitted (inventory.admission.admitted.AdmittedOrder).")
    reason = models.CharField(
        max_length=64, blank=True, help_text="Why no units could be reserved for the order. Empty if they were reserved."
    )
    created_at = models.DateTimeField(db_default=Now())
    failures = models.PositiveSmallIntegerField(db_default=0, help_text="Number of failed attempts to create the order.")
    retry_at = models.DateTimeField(null=True, help_text="Sweeps do not retry before this time.")

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
    """A gate update for one order, as written by the previous release. Now replaced by ``EffectBatch``."""

    class Kind(models.TextChoices):
        SETTLE = "settle"
        RELEASE = "release"
        EXPIRED = "expired"  # a release that counts against the customer; older readers treat it as RELEASE
        REBUILD = "rebuild"  # the gate's data of this order is wrong

    order_id = models.UUIDField()
    item_id = models.BigIntegerField()
    kind = models.CharField(max_length=8, choices=Kind.choices)
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        indexes = [models.Index(fields=["created_at"], name="effect_by_age")]

    def __str__(self) -> str:
        return f"{self.kind} {self.order_id}"


class EffectBatch(models.Model):
    """A gate update for orders of one item: written with the change in PostgreSQL, deleted after the gate has applied it.

    It has its own table because a release that knows only ``GateEffect`` would apply it to one order and drop the others.
    """

    item_id = models.BigIntegerField()
    kind = models.CharField(max_length=8, choices=GateEffect.Kind.choices)
    order_ids = ArrayField(models.UUIDField())
    created_at = models.DateTimeField(db_default=Now())

    def __str__(self) -> str:
        return f"{self.kind} {len(self.order_ids)} orders"
