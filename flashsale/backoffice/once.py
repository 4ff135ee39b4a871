"""Run an action once per form, even after a double click, a reload or a browser retry."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.db import connection
from django.http import HttpRequest

from flashsale.backoffice.models import SentForm
from flashsale.core.clock import now
from flashsale.core.ids import new_uuid

FIELD = "_form_key"
_KEPT = timedelta(days=30)
_BEGUN = "This form was already submitted and its result is not known yet. Check the history before you try again."


def new_key() -> str:
    """A new key for one form."""
    return str(new_uuid())


def once(request: HttpRequest, action: str, act: Callable[[], Any]) -> Any:
    """Call ``act`` unless the form was submitted before. In that case show its stored messages and return None.

    The key is committed before ``act`` runs: at most once, even if the process dies. A request without a key, which does not
    come from one of our forms, runs each time.
    """
    key = _key(request)
    if key is None:
        return act()
    if not _claim(key, action, request.user.get_username()):
        _tell_again(request, SentForm.objects.get(pk=key))
        return None
    told: list[list[Any]] = []
    request.told = told  # type: ignore[attr-defined]
    answer = act()
    SentForm.objects.filter(pk=key).update(told=told, done_at=now())
    return answer


def remember(request: HttpRequest, level: int, text: str) -> None:
    """Store a message, to show it again for a repeated submit."""
    if hasattr(request, "told"):
        request.told.append([level, text])


def _key(request: HttpRequest) -> UUID | None:
    try:
        return UUID(request.POST.get(FIELD, ""))
    except ValueError:
        return None


def _claim(key: UUID, action: str, actor: str) -> bool:
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM backoffice_sentform WHERE created_at < %s", [now() - _KEPT])
        cursor.execute(
            "INSERT INTO backoffice_sentform (key, action, actor, told) VALUES (%s, %s, %s, '[]') ON CONFLICT DO NOTHING",
            [str(key), action[:100], actor],
        )
        return bool(cursor.rowcount)


def _tell_again(request: HttpRequest, sent: SentForm) -> None:
    if sent.done_at is None:
        messages.warning(request, _BEGUN)
    for level, text in sent.told:
        messages.add_message(request, level, f"Already submitted: {text}")
