"""Rate-limit rules in the admin. Changes take effect in every process within a second and are logged."""

from typing import Any

from django.contrib import admin
from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpRequest
from unfold.admin import ModelAdmin

from flashsale.backoffice.selection import CheckedSelection
from flashsale.backoffice.versions import VersionGuard
from flashsale.ratelimit.breakers import shown_state
from flashsale.ratelimit.rules import services
from flashsale.ratelimit.rules.models import BreakerRule, LimitRule, RuleChange


@admin.register(LimitRule)
class LimitRuleAdmin(VersionGuard, CheckedSelection, ModelAdmin):
    list_display = ("name", "applies_to", "key", "algorithm", "rate", "window_ms", "on_limit", "on_failure", "fleet", "enabled")
    list_filter = ("enabled", "algorithm", "on_limit", "fleet")
    search_fields = ("name", "applies_to")
    actions = ("enable", "disable")
    fieldsets = (
        (None, {"fields": ("name", "applies_to", "key", "fleet", "enabled")}),
        (
            "Limit",
            {"fields": ("algorithm", "rate", "window_ms", "burst", "max_wait_ms", "sub_rate", "sub_window_ms", "warm_up_ms")},
        ),
        ("Answers", {"fields": ("on_limit", "on_failure")}),
    )

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        services.save_rule(obj, actor=request.user.get_username())

    def delete_model(self, request: HttpRequest, obj: Any) -> None:
        services.delete_rule(obj, actor=request.user.get_username())

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        for rule in queryset:
            self.delete_model(request, rule)

    @admin.action(description="Enable the selected rules", permissions=["change"])
    def enable(self, request: HttpRequest, queryset: QuerySet[LimitRule]) -> None:
        self._switch(request, queryset, enabled=True)

    @admin.action(description="Disable the selected rules", permissions=["change"])
    def disable(self, request: HttpRequest, queryset: QuerySet[LimitRule]) -> None:
        self._switch(request, queryset, enabled=False)

    @transaction.atomic
    def _switch(self, request: HttpRequest, queryset: QuerySet[LimitRule], *, enabled: bool) -> None:
        for rule in queryset.select_for_update():  # lock, so that concurrent changes are not overwritten
            rule.enabled = enabled
            services.save_rule(rule, actor=request.user.get_username())
            self.log_change(request, rule, f"enabled: {enabled}")


@admin.register(BreakerRule)
class BreakerRuleAdmin(VersionGuard, ModelAdmin):
    list_display = ("name", "state", "error_percent", "slow_percent", "slow_ms", "window_ms", "min_calls", "open_ms", "probes")
    search_fields = ("name",)

    @admin.display(description="state now")
    def state(self, rule: BreakerRule) -> str:
        """Over all processes."""
        return shown_state(rule.name)

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        services.save_breaker(obj, actor=request.user.get_username())

    def delete_model(self, request: HttpRequest, obj: Any) -> None:
        services.delete_breaker(obj, actor=request.user.get_username())

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        for rule in queryset:
            self.delete_model(request, rule)


@admin.register(RuleChange)
class RuleChangeAdmin(ModelAdmin):
    list_display = ("at", "rule", "actor", "changed")
    list_filter = ("rule",)
    search_fields = ("rule", "actor")

    @admin.display(description="changes")
    def changed(self, change: RuleChange) -> str:
        """Old and new value of each field."""
        before, after = change.before or {}, change.after or {}
        if not before or not after:
            return "made" if after else "deleted"
        return ", ".join(f"{name}: {before.get(name)} → {after[name]}" for name in after if before.get(name) != after[name])

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False
