"""Revocations and refresh-token families."""

import uuid

from django.db import models
from django.db.models.functions import Now


class Revocation(models.Model):
    """An event that revokes credentials. Append-only except for ``is_published``.

    With a user id: all credentials issued to that user before ``at`` are refused. Triggers on ``auth_user`` insert such a row,
    in the same transaction, when an account is blocked or deleted, its password is changed, or it loses a staff flag.
    With a session: that browser session or token family is refused.
    """

    user_id = models.BigIntegerField(null=True)  # no foreign key, because the row must outlive a deleted account
    session = models.CharField(max_length=36, blank=True)
    at = models.DateTimeField(db_default=Now())
    is_published = models.BooleanField(default=False, db_default=False)

    class Meta:
        indexes = [
            models.Index(fields=["user_id", "at"], name="revocation_of_user", condition=models.Q(user_id__isnull=False)),
            models.Index(fields=["id"], name="revocation_unpublished", condition=models.Q(is_published=False)),
            models.Index(fields=["at"], name="revocation_by_age"),
        ]

    def __str__(self) -> str:
        return f"session {self.session}" if self.session else f"user {self.user_id}"


class TokenFamily(models.Model):
    """The refresh tokens of one sign-in. Each token can be used once and is replaced by the next."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    user_id = models.BigIntegerField()
    current = models.CharField(max_length=36, help_text="The jti of the current token.")
    previous = models.CharField(max_length=36, blank=True, help_text="The jti of the previous token.")
    rotated_at = models.DateTimeField(db_default=Now())
    expires_at = models.DateTimeField(db_index=True)
    revoked_at = models.DateTimeField(null=True)

    def __str__(self) -> str:
        return f"tokens of user {self.user_id}"
