"""Selection of rows in admin lists."""

from typing import Any

from django.contrib.admin import ModelAdmin
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.core.exceptions import ValidationError
from django.db.models import Field, QuerySet
from django.http import HttpRequest, HttpResponse


class CheckedSelection(ModelAdmin):  # type: ignore[type-arg]
    """Mixin for admins with actions: invalid ids are ignored instead of causing a 500."""

    def response_action(self, request: HttpRequest, queryset: QuerySet[Any], *more: Any) -> HttpResponse | None:
        """Run an action on the selected rows that exist."""
        sent = request.POST.copy()
        ticked = [value for value in sent.getlist(ACTION_CHECKBOX_NAME) if can_be(value, self.opts.pk)]
        sent.setlist(ACTION_CHECKBOX_NAME, ticked)
        request.POST = sent  # type: ignore[assignment]
        return super().response_action(request, queryset, *more)


def can_be(value: str, key: "Field[Any, Any]") -> bool:
    """Whether this text is a valid value of the key."""
    try:
        key.to_python(value)
    except ValidationError:
        return False
    return True
