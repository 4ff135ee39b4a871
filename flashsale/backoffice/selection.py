"""What staff ticked in a list."""

from typing import Any

from django.contrib.admin import ModelAdmin
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.core.exceptions import ValidationError
from django.db.models import Field, QuerySet
from django.http import HttpRequest, HttpResponse


class CheckedSelection(ModelAdmin):  # type: ignore[type-arg]
    """For an admin with actions: an id that can be none of this table's selects nothing, where it would end as a 500."""

    def response_action(self, request: HttpRequest, queryset: QuerySet[Any], *more: Any) -> HttpResponse | None:
        """Run an action on those of the ticked rows that exist."""
        sent = request.POST.copy()
        ticked = [value for value in sent.getlist(ACTION_CHECKBOX_NAME) if can_be(value, self.opts.pk)]
        sent.setlist(ACTION_CHECKBOX_NAME, ticked)
        request.POST = sent  # type: ignore[assignment]
        return super().response_action(request, queryset, *more)


def can_be(value: str, key: "Field[Any, Any]") -> bool:
    """Whether this text can be a value of the key."""
    try:
        key.to_python(value)
    except ValidationError:
        return False
    return True
