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
        constraints = [
            models.UniqueConstraint(
                fields=["fingerprint"], name="letter_once_while_open", condition=models.Q(resolved_at__isnull=True)
            )
        ]

    def __str__(self) -> str:
        return f"{self.task} #{self.pk}"
