"""Admin rules that stop users from giving themselves more permissions."""

from typing import Any

from django.contrib.admin import ModelAdmin
from django.http import HttpRequest

_RANK = ("is_staff", "is_superuser", "groups", "user_permissions")


def _is_superuser(request: HttpRequest) -> bool:
    return bool(request.user.is_active and request.user.is_superuser)


class GuardedAccounts(ModelAdmin):  # type: ignore[type-arg]
    """Only superusers may change staff accounts and their passwords, and turn an account into a staff account."""

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """Make permission fields read-only for other users."""
        fields = tuple(super().get_readonly_fields(request, obj))
        return fields if _is_superuser(request) else (*fields, *(name for name in _RANK if name not in fields))

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Only superusers may change staff accounts."""
        return super().has_change_permission(request, obj) and _may_touch(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Only superusers may delete staff accounts."""
        return super().has_delete_permission(request, obj) and _may_touch(request, obj)


def _may_touch(request: HttpRequest, account: Any) -> bool:
    return account is None or _is_superuser(request) or not (account.is_staff or account.is_superuser)


class GuardedGroups(ModelAdmin):  # type: ignore[type-arg]
    """Only superusers may write groups, because a group gives permissions to all its members."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Superusers only."""
        return _is_superuser(request)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Superusers only."""
        return _is_superuser(request)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Superusers only."""
        return _is_superuser(request)
