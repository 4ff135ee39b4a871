"""What the pipeline could not do, kept for people to look at."""

from django.db import models
from django.db.models.functions import Now


class DeadLetter(models.Model):
    """A step that gave up: enough to run it again."""

    task = models.CharField(max_length=128)
    queue = models.CharField(max_length=32)
    args = models.JSONField()
    error_code = models.CharField(max_length=64)
    error = models.TextField()
    attempts = models.PositiveIntegerField()
    # One open letter per task and arguments: a step that keeps failing does not fill the table.
    fingerprint = models.CharField(max_length=64)
    created_at = models.DateTimeField(db_default=Now())
    resolved_at = models.DateTimeField(null=True, blank=True)
    resolved_by = models.CharField(max_length=150, blank=True)

    class Meta:
        ordering = ["-id"]
        permissions = [("operate_deadletter", "Can run again and reject what dead letters hold")]
        constraints = [
            models.UniqueConstraint(
                fields=["fingerprint"], name="letter_once_while_open", condition=models.Q(resolved_at__isnull=True)
            )
        ]

    def __str__(self) -> str:
        return f"{self.task} #{self.pk}"

    @property
    def is_unreadable(self) -> bool:
        """It holds an item and a line of its stream that nobody can read, which is no step."""
        return self.task == "tasks.dispatch" and len(self.args) == 2


class GateMend(models.Model):
    """One line of the history of mends: a gate was rebuilt from the ledger. Append-only.

    Before: what the gate had, null where there was none. After: what it was opened with.
    """

    # The history outlives an item that is deleted before anything was sold of it.
    item = models.ForeignKey("inventory.SaleItem", on_delete=models.DO_NOTHING, related_name="mends", db_constraint=False)
    cause = models.CharField(max_length=300)
    actor = models.CharField(max_length=150, blank=True, help_text="Who asked for it; empty: a sweep.")
    stock_before = models.BigIntegerField(null=True)
    held_before = models.BigIntegerField(null=True)
    sold_before = models.BigIntegerField(null=True)
    stock_after = models.BigIntegerField()
    held_after = models.BigIntegerField()
    sold_after = models.BigIntegerField()
    in_flight = models.BigIntegerField(help_text="Orders and effects between gate and ledger when it was rebuilt.")
    fence = models.BigIntegerField(help_text="The fencing number it was rebuilt under.")
    took_ms = models.PositiveIntegerField("took (ms)", help_text="How long the gate answered paused.")
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ["-id"]

    def __str__(self) -> str:
        return f"{self.item_id}: {self.cause}"

    @property
    def before(self) -> str:
        """Stock, held, sold at the gate before, in words where there was none."""
        return "missing" if self.stock_before is None else f"{self.stock_before} / {self.held_before} / {self.sold_before}"

    @property
    def after(self) -> str:
        """Stock, held, sold at the gate after."""
        return f"{self.stock_after} / {self.held_after} / {self.sold_after}"
