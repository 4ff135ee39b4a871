"""What every admin here shares; dead letters; the accounts of staff and customers.

Whoever may change a row may run its actions. An action is a POST, and leaves a line in the row's history.
"""

from collections.abc import Callable
from typing import Any
from uuid import UUID

from django.contrib import admin, messages
from django.contrib.auth.admin import GroupAdmin as DjangoGroupAdmin
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.contrib.auth.models import Group, User
from django.db.models import Model, Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils.html import format_html
from kombu.exceptions import OperationalError
from unfold.admin import ModelAdmin
from unfold.contrib.filters.admin import AllValuesCheckboxFilter, RangeDateTimeFilter
from unfold.decorators import action
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm

from flashsale.accounts.forms import OneName
from flashsale.core.errors import FlashsaleError
from flashsale.edge.selection import CheckedSelection
from tasks import dead_letters, gate_effects, poison
from tasks.models import DeadLetter, GateMend


def button(name: str, *, title: str, question: str, icon: str) -> Any:
    """The action ``name`` of the list as a button on a row's own page, which asks before it acts."""

    def press(self: "StaffAdmin", request: HttpRequest, _form: object, object_id: str) -> HttpResponse:
        row = self.get_object(request, object_id)
        if row is None:
            return self.gone(request, object_id)
        getattr(self, name)(request, self.get_queryset(request).filter(pk=row.pk))
        page = f"{self.admin_site.name}:{self.opts.app_label}_{self.opts.model_name}_change"
        answer = redirect(page, row.pk)
        return HttpResponse(headers={"HX-Redirect": answer.url}) if "HX-Request" in request.headers else answer

    press.__name__ = f"press_{name}"
    dialog = {"title": title, "description": question, "form_class": None, "form_submit_text": title}
    return action(press, description=title, url_path=name.replace("_", "-"), icon=icon, dialog=dialog, permissions=["operate"])


class StaffAdmin(CheckedSelection, ModelAdmin):
    """Search by id, actions by permission, history by one call."""

    show_full_result_count = False  # counts the whole table a second time
    list_filter_submit = True
    uuid_fields: tuple[str, ...] = ()  # searched when the term is a UUID

    def has_operate_permission(self, request: HttpRequest, _object_id: str | None = None) -> bool:
        return bool(request.user.has_perm(f"{self.opts.app_label}.change_{self.opts.model_name}"))

    def note(self, request: HttpRequest, row: Model, text: str) -> None:
        """Write what was done into the history of the row."""
        self.log_change(request, row, text)

    def gone(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """The answer when there is no such row."""
        answer: HttpResponse = self._get_obj_does_not_exist_redirect(request, self.opts, object_id)
        return answer

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> tuple[Any, Any, Any, Any]:
        """Says what protects the rows, before it says what else the user may not delete."""
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
    """Rows that nobody writes by hand. Goes before the admin class."""

    def has_add_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False


def linked(label: str, address: Callable[[Any], str], *, text: str) -> Any:
    """A column that leads to another page of the admin."""

    @admin.display(description=label)
    def column(row: Any) -> str:
        return format_html('<a href="{}" class="text-primary-600 dark:text-primary-500">{}</a>', address(row), text)

    return column


@admin.register(DeadLetter)
class DeadLetterAdmin(ReadOnly, StaffAdmin):
    list_display = ("id", "task", "queue", "error_code", "attempts", "created_at", "resolved_at", "resolved_by")
    list_filter = (
        ("resolved_at", admin.EmptyFieldListFilter),
        ("task", AllValuesCheckboxFilter),
        ("error_code", AllValuesCheckboxFilter),
        ("created_at", RangeDateTimeFilter),
    )
    search_fields = ("task", "error_code", "error", "args")
    actions = ("run_again", "reject")
    press_run_again = button(
        "run_again", title="Run again", question="The step is published anew and the letter closed.", icon="replay"
    )
    press_reject = button(
        "reject",
        title="Reject order",
        question="The order is rejected for good, its units go back on sale, and the letter is closed. For a line that nobody "
        "can read: the orders whose units the gate holds and that nothing else knows.",
        icon="block",
    )
    actions_detail = ("press_run_again", "press_reject")

    def get_actions_detail(self, request: HttpRequest, object_id: int) -> list[Any]:
        """What cannot be done about this letter has no button."""
        letter = self.get_object(request, str(object_id))
        useless = {"press_run_again"} if letter and letter.is_unreadable else set()
        if letter and letter.resolved_at:
            useless |= {"press_run_again", "press_reject"}
        offered = super().get_actions_detail(request, object_id)
        return [each for each in offered if not any(each.action_name.endswith(name) for name in useless)]

    @admin.action(description="Run again", permissions=["operate"])
    def run_again(self, request: HttpRequest, queryset: QuerySet[DeadLetter]) -> None:
        for letter in queryset.order_by("pk"):
            self._run_again(request, letter)

    def _run_again(self, request: HttpRequest, letter: DeadLetter) -> None:
        if letter.resolved_at:
            self.message_user(request, f"{letter} is closed; nothing was published.", messages.WARNING)
            return
        try:
            dead_letters.run_again(letter, request.user.get_username())
        except OperationalError as error:
            self.message_user(request, f"{letter} was not published, the broker cannot be reached: {error}", messages.ERROR)
            return
        except FlashsaleError as error:
            self.message_user(request, f"{letter}: {error.detail}", messages.ERROR)
            return
        self.note(request, letter, "Run again.")
        self.message_user(request, f"{letter} was published again.", messages.SUCCESS)

    @admin.action(description="Reject order", permissions=["operate"])
    def reject(self, request: HttpRequest, queryset: QuerySet[DeadLetter]) -> None:
        for letter in queryset.order_by("pk"):
            self._reject(request, letter)
        try:
            gate_effects.apply()
        except FlashsaleError as error:
            self.message_user(request, f"{error.detail} The gate will learn it from a sweep.", messages.WARNING)

    def _reject(self, request: HttpRequest, letter: DeadLetter) -> None:
        if letter.resolved_at:
            self.message_user(request, f"{letter} is closed; nothing was rejected.", messages.WARNING)
            return
        try:
            rejected = poison.reject(letter, request.user.get_username())
        except FlashsaleError as error:
            self.message_user(request, f"{letter}: {error.detail}", messages.ERROR)
            return
        done = f"Rejected: {', '.join(map(str, rejected))}." if rejected else "Nothing was left to reject."
        self.note(request, letter, done)
        self.message_user(request, f"{letter} is closed. {done}", messages.SUCCESS)


@admin.register(GateMend)
class GateMendAdmin(ReadOnly, StaffAdmin):
    """The history of mends."""

    list_display = ("id", "created_at", "item_id", "cause", "actor", "before", "after", "in_flight", "took_ms")
    list_filter = (("created_at", RangeDateTimeFilter),)
    search_fields = ("=item__product__sku", "cause", "actor")
    search_help_text = "SKU, cause, actor"


admin.site.unregister(User)
admin.site.unregister(Group)


class _UserForm(OneName, UserChangeForm):
    pass


class _NewUserForm(OneName, UserCreationForm):
    pass


@admin.register(User)
class UserAdmin(DjangoUserAdmin, StaffAdmin):  # type: ignore[type-arg]
    form = _UserForm
    add_form = _NewUserForm
    change_password_form = AdminPasswordChangeForm


@admin.register(Group)
class GroupAdmin(DjangoGroupAdmin, StaffAdmin):
    pass
