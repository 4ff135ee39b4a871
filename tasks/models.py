"""Dead letters and gate repairs, for staff."""

from django.db import models
from django.db.models.functions import Now


class DeadLetter(models.Model):
    """A failed step with its arguments, so that it can be run again."""

    task = models.CharField(max_length=128)
    queue = models.CharField(max_length=32)
    args = models.JSONField()
    error_code = models.CharField(max_length=64)
    error = models.TextField()
    attempts = models.PositiveIntegerField()
    # One open letter per task and arguments, so that a step that keeps failing does not fill the table.
    fingerprint = models.CharField(max_length=64)
    created_at = models.DateTimeField(db_default=Now())
    resolved_at = models.DateTimeField(null=True, blank=True)
    resolved_by = models.CharField(max_length=150, blank=True)

    class Meta:
        ordering = ["-id"]
        permissions = [("operate_deadletter", "Can run dead letters again and reject their orders")]
        constraints = [
            models.UniqueConstraint(
                fields=["fingerprint"], name="letter_once_while_open", condition=models.Q(resolved_at__isnull=True)
            )
        ]

    def __str__(self) -> str:
        return f"{self.task} #{self.pk}"

    @property
    def is_unreadable(self) -> bool:
        """Whether the letter contains an unreadable stream entry instead of a step."""
        return self.task == "tasks.dispatch" and len(self.args) == 2


class GateMend(models.Model):
    """A repair of a gate: the gate was rebuilt from PostgreSQL. Append-only.

    ``*_before``: the gate's values before the repair, null if there was no gate. ``*_after``: the values it was opened with.
    """

    # The history is kept if the item is deleted.
    item = models.ForeignKey("inventory.SaleItem", on_delete=models.DO_NOTHING, related_name="mends", db_constraint=False)
    cause = models.CharField(max_length=300)
    actor = models.CharField(max_length=150, blank=True, help_text="The user who requested the repair. Empty if a sweep did.")
    stock_before = models.BigIntegerField(null=True)
    held_before = models.BigIntegerField(null=True)
    sold_before = models.BigIntegerField(null=True)
    stock_after = models.BigIntegerField()
    held_after = models.BigIntegerField()
    sold_after = models.BigIntegerField()
    in_flight = models.BigIntegerField(help_text="Orders and effects in flight during the rebuild.")
    fence = models.BigIntegerField(help_text="Fencing token of the rebuild.")
    took_ms = models.PositiveIntegerField("took (ms)", help_text='Time during which the gate answered "paused".')
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ["-id"]

    def __str__(self) -> str:
        return f"{self.item_id}: {self.cause}"

    @property
    def before(self) -> str:
        """Stock, held and sold before the repair, or "missing" if there was no gate."""
        return "missing" if self.stock_before is None else f"{self.stock_before} / {self.held_before} / {self.sold_before}"

    @property
    def after(self) -> str:
        """Stock, held and sold after the repair."""
        return f"{self.stock_after} / {self.held_after} / {self.sold_after}"
