"""Submitted forms."""

from django.db import models
from django.db.models.functions import Now


class SentForm(models.Model):
    """A submitted action form, stored by its one-time key. A repeated submit only shows the stored messages again."""

    key = models.UUIDField(primary_key=True)
    action = models.CharField(max_length=100)
    actor = models.CharField(max_length=150)
    told = models.JSONField(default=list, help_text="Level and text of each message that was shown.")
    created_at = models.DateTimeField(db_default=Now())
    done_at = models.DateTimeField(null=True)

    class Meta:
        indexes = [models.Index(fields=["created_at"], name="sent_form_by_age")]
        default_permissions = ()

    def __str__(self) -> str:
        return f"{self.action} by {self.actor}"
