"""Payments, refunds, webhook events, and the books of the sandbox provider."""

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from flashsale.core.money import AmountField


class Payment(models.Model):
    """One attempt to charge one order. It refers to the order by id only.

    An order has at most one open payment. It may have several successful ones, because the provider's books decide. One of
    them pays the order. The others are refunded.
    """

    class Status(models.TextChoices):
        CREATED = "created"
        PROCESSING = "processing"
        SUCCEEDED = "succeeded"
        FAILED = "failed"
        UNKNOWN = "unknown"

    class Origin(models.TextChoices):
        CHAIN = "chain"
        CUSTOMER = "customer"

    id = models.UUIDField(primary_key=True)
    order_id = models.UUIDField()
    customer_id = models.BigIntegerField()
    amount = AmountField()
    currency = models.CharField(max_length=3)
    method = models.CharField(max_length=32)
    origin = models.CharField(max_length=8, choices=Origin.choices)
    provider = models.CharField(max_length=32)
    idempotency_key = models.CharField(max_length=64)
    provider_ref = models.CharField(max_length=64, blank=True)
    status = models.CharField(max_length=12, choices=Status.choices)
    failure_code = models.CharField(max_length=64, blank=True)
    attempts = models.PositiveIntegerField(default=0)
    next_attempt_at = models.DateTimeField(db_default=Now())
    needs_action = models.BooleanField(
        default=False, db_default=False, help_text="The customer has to confirm it at the provider, by 3-D Secure for example."
    )
    applied_at = models.DateTimeField(null=True, blank=True, help_text="When the order learnt the outcome.")
    created_at = models.DateTimeField(db_default=Now())
    updated_at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["order_id"],
                # Two payments may succeed if a success arrives late. The second one is refunded.
                name="payment_one_open_per_order",
                condition=Q(status__in=["created", "processing", "unknown"]),
            ),
            # ``unique=True`` would make Django add a second index for LIKE.
            models.UniqueConstraint(fields=["idempotency_key"], name="payment_once_per_key"),
            models.CheckConstraint(name="payment_amount_not_negative", condition=Q(amount__gte=0)),
        ]
        indexes = [
            models.Index(fields=["order_id"], name="payment_by_order"),
            models.Index(
                fields=["customer_id", "-created_at"], name="payment_attempts_by_customer", condition=~Q(status="succeeded")
            ),
            models.Index(
                fields=["next_attempt_at"],
                name="payment_open_by_next_attempt",
                condition=Q(status__in=["created", "processing", "unknown"]),
            ),
            models.Index(
                fields=["updated_at"],
                name="payment_decided_not_applied",
                condition=Q(status__in=["succeeded", "failed"], applied_at__isnull=True),
            ),
        ]

    def __str__(self) -> str:
        return str(self.pk)


class Refund(models.Model):
    """A full refund. A payment has at most one."""

    class Status(models.TextChoices):
        REQUESTED = "requested"
        SUCCEEDED = "succeeded"
        FAILED = "failed"

    id = models.UUIDField(primary_key=True)
    payment = models.OneToOneField(Payment, on_delete=models.PROTECT, related_name="refund")
    amount = AmountField()
    reason = models.CharField(max_length=64)
    idempotency_key = models.CharField(max_length=64)
    provider_ref = models.CharField(max_length=64, blank=True)
    status = models.CharField(max_length=12, choices=Status.choices)
    failure_code = models.CharField(max_length=64, blank=True)
    attempts = models.PositiveIntegerField(default=0)
    next_attempt_at = models.DateTimeField(db_default=Now())
    created_at = models.DateTimeField(db_default=Now())
    updated_at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = [models.UniqueConstraint(fields=["idempotency_key"], name="refund_once_per_key")]
        indexes = [
            models.Index(fields=["next_attempt_at"], name="refund_open_by_next_attempt", condition=Q(status="requested"))
        ]

    def __str__(self) -> str:
        return str(self.pk)


class ProviderEvent(models.Model):
    """A webhook event. It is stored so that a repeated event has no effect, and until its order is updated."""

    class Outcome(models.TextChoices):
        """Waiting: the payment is unknown so far, or the provider's books do not confirm the event yet."""

        WAITING = "", "waiting"
        APPLIED = "applied"
        CONTRADICTED = "contradicted", "contradicted by the provider's books"
        UNKNOWN_KIND = "unknown_kind", "of an unknown kind"

    provider = models.CharField(max_length=32)
    event_id = models.CharField(max_length=128)
    kind = models.CharField(max_length=64)
    payload = models.JSONField()
    received_at = models.DateTimeField(db_default=Now())
    outcome = models.CharField(max_length=16, choices=Outcome.choices, blank=True, default="", db_default="")
    attempts = models.PositiveIntegerField(default=0, db_default=0, help_text="How often the provider's books were asked.")
    next_attempt_at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = [models.UniqueConstraint(fields=["provider", "event_id"], name="event_once_per_provider")]
        indexes = [
            models.Index(fields=["next_attempt_at"], name="event_waiting_by_next_attempt", condition=Q(outcome="")),
        ]

    def __str__(self) -> str:
        return self.event_id


class SandboxCharge(models.Model):
    """The sandbox provider's book of charges. It decides what a repeated question is answered."""

    ref = models.CharField(max_length=64)
    idempotency_key = models.CharField(max_length=64)
    amount = AmountField()
    currency = models.CharField(max_length=3)
    method = models.CharField(max_length=32)
    outcome = models.CharField(max_length=16, help_text="captured, declined, or unavailable (nothing was taken yet).")
    asked = models.PositiveIntegerField(default=1)
    decided_at = models.DateTimeField(help_text="From when on the provider tells the outcome.")
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = [models.UniqueConstraint(fields=["idempotency_key"], name="sandbox_charge_once_per_key")]

    def __str__(self) -> str:
        return self.ref


class SandboxRefund(models.Model):
    """The sandbox provider's book of refunds."""

    ref = models.CharField(max_length=64)
    idempotency_key = models.CharField(max_length=64)
    charge = models.OneToOneField(SandboxCharge, on_delete=models.PROTECT, related_name="refund")
    amount = AmountField()
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = [models.UniqueConstraint(fields=["idempotency_key"], name="sandbox_refund_once_per_key")]

    def __str__(self) -> str:
        return self.ref
