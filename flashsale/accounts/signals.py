"""Signal handlers for sign-ins and account changes."""

from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.auth.signals import user_logged_in
from django.db import transaction
from django.db.models.signals import post_delete, post_save
from django.http import HttpRequest

from flashsale.accounts import revocations, sessions
from flashsale.accounts.errors import AccountEnded

_ENDS_CREDENTIALS = frozenset({"is_active", "password", "is_staff", "is_superuser"})


def connect() -> None:
    """Connect the handlers. Call once per process."""
    user_logged_in.connect(_signed_in, dispatch_uid="accounts")
    post_save.connect(_saved, sender=get_user_model(), dispatch_uid="accounts")
    post_delete.connect(_deleted, sender=get_user_model(), dispatch_uid="accounts")


def _signed_in(request: HttpRequest, user: Any, **_: Any) -> None:
    try:
        sessions.start(request.session, user)
    except AccountEnded:
        request.session.clear()
        raise


def _saved(created: bool, update_fields: frozenset[str] | None, **_: Any) -> None:
    """Publish the revocation that the trigger has written, without waiting for the sweep."""
    if not created and (update_fields is None or update_fields & _ENDS_CREDENTIALS):
        transaction.on_commit(revocations.publish, robust=True)


def _deleted(**_: Any) -> None:
    transaction.on_commit(revocations.publish, robust=True)
