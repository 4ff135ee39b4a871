"""An action happens once, however often its form is sent: by a double click, a reload, or a browser that tries again."""

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
_BEGUN = "This form was sent before, and what became of it is not known yet. Look at the history before you try again."


def new_key() -> str:
    """For one form."""
    return str(new_uuid())


def once(request: HttpRequest, action: str, act: Callable[[], Any]) -> Any:
    """Call ``act`` unless the form was sent before; then tell again what it told, and return None.

    The key is written before ``act``, and committed: at most once, if the process dies in between. A request without a key,
    from no form of ours, acts each time.
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
    """Note a message, to tell it again when the form is sent again."""
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
        messages.add_message(request, level, f"Sent before: {text}")
