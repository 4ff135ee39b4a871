"""What staff may do to accounts beside changing them."""

from typing import Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest

from flashsale.accounts import revoke


class SignOutEverywhere:
    """Goes before the admin class of users. Doing it twice harms nobody: whoever is meant signs in again."""

    @admin.action(description="Sign out everywhere", permissions=["change"])
    def sign_out_everywhere(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        """End all sessions and tokens of those ticked accounts that this person may change."""
        found = [user for user in queryset if self.has_change_permission(request, user)]  # type: ignore[attr-defined]
        for user in found:
            revoke.everything_of(user.pk)
            self.log_change(request, user, "Signed out everywhere.")  # type: ignore[attr-defined]
        text = f"{len(found)} accounts are signed out everywhere within 5 seconds."
        self.message_user(request, text, messages.SUCCESS)  # type: ignore[attr-defined]
