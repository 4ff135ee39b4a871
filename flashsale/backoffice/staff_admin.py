"""Base classes of all admins.

An action is a POST request and is logged in the row's history. An action that changes stock or money asks for confirmation and
runs once per form. Running an action needs the ``change`` permission or the permission that the admin names.
"""

from collections.abc import Callable
from functools import wraps
from typing import Any
from uuid import UUID

from django.conf import settings
from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.db.models import DateTimeField, Model, Q, QuerySet
from django.forms import CharField, HiddenInput
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.utils.html import format_html
from django.utils.text import capfirst
from unfold.admin import ModelAdmin
from unfold.decorators import action
from unfold.forms import BaseDialogForm

from flashsale.backoffice import once
from flashsale.backoffice.selection import CheckedSelection
from flashsale.backoffice.versions import VersionGuard
from flashsale.core import money

MOST_ROWS = 100  # limit of a bulk action: as many rows as a person can review
_CONFIRMED = ("post", "yes")  # the field that Django's delete confirmation sends


class _Question(BaseDialogForm):
    """The confirmation dialog of a button. Its form key makes a repeated submit harmless."""

    form_before_template = "backoffice/affected.html"

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.fields[once.FIELD] = CharField(required=False, widget=HiddenInput, initial=once.new_key)

    def get_before_template_context(self, request: HttpRequest, object_id: int | str | None = None) -> dict[str, Any]:
        """Add the admin's description of the row."""
        asked: StaffAdmin = request.asked  # type: ignore[attr-defined]
        row = asked.get_object(request, str(object_id))
        return {"rows": [asked.describe(row)] if row else []}


def asking(question: str, *, beyond: int = 0) -> Callable[[Callable[..., None]], Callable[..., HttpResponse | None]]:
    """Make an action of the list ask for confirmation, and run once per form.

    Args:
        question: text that says what will happen.
        beyond: run without confirmation for up to this many rows.
    """

    def decorate(act: Callable[..., None]) -> Callable[..., HttpResponse | None]:
        @wraps(act)
        def ask(self: "StaffAdmin", request: HttpRequest, queryset: QuerySet[Any]) -> HttpResponse | None:
            name, sent = _CONFIRMED
            is_confirmed = request.POST.get(name) == sent or hasattr(request, "asked")
            count = queryset.count()
            if count > MOST_ROWS:
                self.message_user(
                    request, f"Select at most {MOST_ROWS} rows; {count} were selected. Nothing was changed.", messages.ERROR
                )
                return None
            if count > beyond and not is_confirmed:
                return self.question(request, queryset, act.__name__, question)
            once.once(request, f"{self.opts.label_lower} {act.__name__}", lambda: act(self, request, queryset))
            return None

        return ask

    return decorate


def button(name: str, *, title: str, question: str, icon: str, permission: str = "operate") -> Any:
    """Offer the list action ``name`` as a button on the row's page. The button asks for confirmation."""

    def press(self: "StaffAdmin", request: HttpRequest, _form: object, object_id: str) -> HttpResponse:
        row = self.get_object(request, object_id)
        if row is None:
            return self.gone(request, object_id)
        getattr(self, name)(request, self.get_queryset(request).filter(pk=row.pk))
        page = f"{self.admin_site.name}:{self.opts.app_label}_{self.opts.model_name}_change"
        answer = redirect(page, row.pk)
        return HttpResponse(headers={"HX-Redirect": answer.url}) if "HX-Request" in request.headers else answer

    press.__name__ = f"press_{name}"
    dialog = {"title": title, "description": question, "form_class": _Question, "form_submit_text": title}
    path = name.replace("_", "-")
    pressed = action(press, description=title, url_path=path, icon=icon, dialog=dialog, permissions=[permission])

    @wraps(pressed)
    def known(self: "StaffAdmin", request: HttpRequest, *args: Any, **options: Any) -> Any:
        request.asked = self  # type: ignore[attr-defined]
        return pressed(self, request, *args, **options)

    return known


class StaffAdmin(VersionGuard, CheckedSelection, ModelAdmin):
    """Base admin: search by id, actions by permission, and a helper that logs to the history."""

    show_full_result_count = False  # avoids a second count of the whole table
    list_filter_submit = True
    uuid_fields: tuple[str, ...] = ()  # searched if the search term is a UUID

    def has_operate_permission(self, request: HttpRequest, _object_id: str | None = None) -> bool:
        return self.may(request, "operate") or self.may(request, "change")

    def may(self, request: HttpRequest, verb: str) -> bool:
        """Whether the user has this permission on the admin's model."""
        return bool(request.user.has_perm(f"{self.opts.app_label}.{verb}_{self.opts.model_name}"))

    def formfield_for_dbfield(self, db_field: Any, request: HttpRequest, **options: Any) -> Any:
        """Show the time zone in the label of time fields."""
        field = super().formfield_for_dbfield(db_field, request, **options)
        if field is not None and isinstance(db_field, DateTimeField):
            field.label = f"{capfirst(db_field.verbose_name)} ({settings.TIME_ZONE})"
        return field

    def message_user(self, request: HttpRequest, message: Any, level: Any = messages.INFO, *more: Any, **options: Any) -> None:
        """Show the message, and store it for a repeated submit of the same form."""
        super().message_user(request, message, level, *more, **options)
        once.remember(request, int(level), str(message))

    def describe(self, row: Any) -> str:
        """The row's description in the confirmation of an action."""
        return str(row)

    def totals(self, queryset: QuerySet[Any]) -> list[str]:
        """The totals of the rows in the confirmation of an action."""
        return [f"{queryset.count()} selected"]

    def question(self, request: HttpRequest, queryset: QuerySet[Any], name: str, text: str) -> HttpResponse:
        """The confirmation page of a list action."""
        rows = list(queryset.order_by("pk"))
        context = self.admin_site.each_context(request) | {
            "title": f"{capfirst(name.replace('_', ' '))}?",
            "opts": self.opts,
            "question": text,
            "totals": self.totals(queryset),
            "rows": [self.describe(row) for row in rows],
            "hidden": [
                ("action", name),
                _CONFIRMED,
                (once.FIELD, once.new_key()),
                *((ACTION_CHECKBOX_NAME, str(row.pk)) for row in rows),
            ],
        }
        return TemplateResponse(request, "backoffice/question.html", context)

    def note(self, request: HttpRequest, row: Model, text: str) -> None:
        """Add an entry to the row's history."""
        self.log_change(request, row, text)

    def gone(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Redirect with a message if the row does not exist."""
        answer: HttpResponse = self._get_obj_does_not_exist_redirect(request, self.opts, object_id)
        return answer

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> tuple[Any, Any, Any, Any]:
        """Report protected rows first, then missing permissions."""
        shown, counts, lacking, protected = super().get_deleted_objects(objs, request)
        return shown, counts, set() if protected else lacking, protected

    def get_search_results(self, request: HttpRequest, queryset: QuerySet[Any], search_term: str) -> tuple[QuerySet[Any], bool]:
        try:
            wanted = UUID(search_term.strip())
        except ValueError:
            wanted = None
        if wanted is None or not self.uuid_fields:
            found: tuple[QuerySet[Any], bool] = super().get_search_results(request, queryset, search_term)
            return found
        return queryset.filter(Q(*((name, wanted) for name in self.uuid_fields), _connector=Q.OR)), False


class ReadOnly:
    """Mixin for rows that cannot be edited. Goes before the admin class."""

    def has_add_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False


def linked(label: str, address: Callable[[Any], str], *, text: str) -> Any:
    """A column that links to another admin page."""

    @admin.display(description=label)
    def column(row: Any) -> str:
        return format_html('<a href="{}" class="text-primary-600 dark:text-primary-500">{}</a>', address(row), text)

    return column


def amount(field: str, label: str, *, currency: Callable[[Any], str] = lambda row: row.currency) -> Any:
    """A column that shows an amount with the decimals of its currency, or nothing if there is no amount."""

    @admin.display(description=label, ordering=field)
    def column(row: Any) -> str:
        value = getattr(row, field)
        return "" if value is None else money.text(value, currency(row))

    return column
