"""What ends credentials before their time."""

import uuid

from django.db import models
from django.db.models.functions import Now


class Revocation(models.Model):
    """One event that ends credentials. Append-only but for ``is_published``.

    With a user id: everything issued to that user before ``at`` is refused. Triggers on ``auth_user`` write such a row when an
    account is blocked or deleted, gets another password or loses a staff flag, in the transaction of the change and whatever
    statement made it. With a session: that one browser session or family of tokens is refused.
    """

    user_id = models.BigIntegerField(null=True)  # no foreign key: a deleted account's credentials end as well
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
    """The refresh tokens that descend from one sign-in: each is good for one use and replaced by the next."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    user_id = models.BigIntegerField()
    current = models.CharField(max_length=36, help_text="The jti of the token that may be used.")
    previous = models.CharField(max_length=36, blank=True, help_text="The jti it replaced.")
    rotated_at = models.DateTimeField(db_default=Now())
    expires_at = models.DateTimeField(db_index=True)
    revoked_at = models.DateTimeField(null=True)

    def __str__(self) -> str:
        return f"tokens of user {self.user_id}"
