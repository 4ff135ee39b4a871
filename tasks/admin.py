"""Dead letters and the history of gate repairs."""

import json
from typing import Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from kombu.exceptions import OperationalError
from unfold.contrib.filters.admin import AllValuesCheckboxFilter, RangeDateTimeFilter

from flashsale.backoffice.staff_admin import MOST_ROWS, ReadOnly, StaffAdmin, asking, button
from flashsale.core.errors import FlashsaleError
from tasks.models import DeadLetter, GateMend
from tasks.repair import dead_letters, poison
from tasks.steps import gate_effects


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
        "run_again", title="Run again", question="The step is published again and the dead letter is closed.", icon="replay"
    )
    press_reject = button(
        "reject",
        title="Reject order",
        question="The order is rejected, its units go back on sale, and the dead letter is closed. This cannot be undone. "
        "For an unreadable stream entry: rejects holds that have no order.",
        icon="block",
    )
    actions_detail = ("press_run_again", "press_reject")

    def get_actions_detail(self, request: HttpRequest, object_id: int) -> list[Any]:
        """Hide the buttons of actions that are not possible for this letter."""
        letter = self.get_object(request, str(object_id))
        useless = {"press_run_again"} if letter and letter.is_unreadable else set()
        if letter and letter.resolved_at:
            useless |= {"press_run_again", "press_reject"}
        offered = super().get_actions_detail(request, object_id)
        return [each for each in offered if not any(each.action_name.endswith(name) for name in useless)]

    def describe(self, letter: DeadLetter) -> str:
        """The step, its arguments and the error."""
        return f"Letter {letter.pk}: {letter.task} {json.dumps(letter.args)[:200]} ({letter.error_code})"

    @admin.action(description="Run again", permissions=["operate"])
    @asking("The steps are published again and the dead letters are closed.", beyond=MOST_ROWS)
    def run_again(self, request: HttpRequest, queryset: QuerySet[DeadLetter]) -> None:
        for letter in queryset.order_by("pk"):
            self._run_again(request, letter)

    def _run_again(self, request: HttpRequest, letter: DeadLetter) -> None:
        if letter.resolved_at:
            self.message_user(request, f"{letter} is already closed. Nothing was published.", messages.WARNING)
            return
        try:
            dead_letters.run_again(letter, request.user.get_username())
        except OperationalError as error:
            self.message_user(
                request, f"{letter} was not published because the broker cannot be reached: {error}", messages.ERROR
            )
            return
        except FlashsaleError as error:
            self.message_user(request, f"{letter}: {error.detail}", messages.ERROR)
            return
        self.note(request, letter, "Run again.")
        self.message_user(request, f"{letter} was published again.", messages.SUCCESS)

    @admin.action(description="Reject order", permissions=["operate"])
    @asking("The orders are rejected, their units go back on sale, and the dead letters are closed. This cannot be undone.")
    def reject(self, request: HttpRequest, queryset: QuerySet[DeadLetter]) -> None:
        for letter in queryset.order_by("pk"):
            self._reject(request, letter)
        try:
            gate_effects.apply()
        except FlashsaleError as error:
            self.message_user(request, f"{error.detail} Saved. Redis is updated within a second.", messages.WARNING)

    def _reject(self, request: HttpRequest, letter: DeadLetter) -> None:
        if letter.resolved_at:
            self.message_user(request, f"{letter} is already closed. Nothing was rejected.", messages.WARNING)
            return
        try:
            rejected = poison.reject(letter, request.user.get_username())
        except FlashsaleError as error:
            self.message_user(request, f"{letter}: {error.detail}", messages.ERROR)
            return
        done = f"Rejected: {', '.join(map(str, rejected))}." if rejected else "There was nothing to reject."
        self.note(request, letter, done)
        self.message_user(request, f"{letter} is closed. {done}", messages.SUCCESS)


@admin.register(GateMend)
class GateMendAdmin(ReadOnly, StaffAdmin):
    """The history of gate repairs."""

    list_display = ("id", "created_at", "item_id", "cause", "actor", "before", "after", "in_flight", "took_ms")
    list_filter = (("created_at", RangeDateTimeFilter),)
    search_fields = ("=item__product__sku", "cause", "actor")
    search_help_text = "SKU, cause, actor"
