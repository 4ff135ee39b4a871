"""Admin actions on accounts."""

from typing import Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest

from flashsale.accounts import revoke


class SignOutEverywhere:
    """Mixin for the admin of users. The action may run twice: the users only have to sign in again."""

    @admin.action(description="Sign out everywhere", permissions=["change"])
    def sign_out_everywhere(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        """End all sessions and tokens of the selected accounts that this user may change."""
        found = [user for user in queryset if self.has_change_permission(request, user)]  # type: ignore[attr-defined]
        for user in found:
            revoke.everything_of(user.pk)
            self.log_change(request, user, "Signed out everywhere.")  # type: ignore[attr-defined]
        text = f"{len(found)} accounts will be signed out everywhere within 5 seconds."
        self.message_user(request, text, messages.SUCCESS)  # type: ignore[attr-defined]
