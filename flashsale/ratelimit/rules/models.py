"""Rate-limit rules and their change history."""

from typing import Any

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import models

from flashsale.ratelimit.limit import ConfigurationError
from flashsale.ratelimit.rule import Rule

API_ENDPOINTS = (
    "auth-token",
    "sales",
    "sale",
    "sale-me",
    "purchase-tokens",
    "waiting-room",
    "line",
    "orders",
    "order",
    "order-pay",
    "order-payment-action",
    "order-cancel",
    "auth-token-refresh",
    "auth-token-revoke",
    "webhook",
    "schema",
    "docs",
)
PLACES = (
    ("api", "every API endpoint"),
    *((f"api:{name}", f"API endpoint {name}") for name in API_ENDPOINTS),
    ("admission", "admission of orders, in the gate's script"),
    ("gateway", "gateway, through the rate-limit service"),
    ("call:payments", "calls to the payment provider, over all processes"),
    *((f"produce:{queue}", f"producers of queue {queue}") for queue in settings.QUEUES),
    *((f"consume:{queue}", f"consumers of queue {queue}, over all workers") for queue in settings.QUEUES),
)


class LimitRule(models.Model):
    """A rule. ``flashsale.ratelimit.rule.Rule`` describes the fields."""

    class Key(models.TextChoices):
        ALL = "all", "everything together"
        ADDRESS = "address", "each client address"
        CUSTOMER = "customer", "each customer"
        ITEM = "item", "each item"
        ACCOUNT = "account", "each account name, at sign-in"

    class Algorithm(models.TextChoices):
        TOKEN_BUCKET = "token_bucket", "token bucket"
        LEAKY_BUCKET = "leaky_bucket", "leaky bucket (a queue)"
        SLIDING_LOG = "sliding_log", "sliding window, log"
        SLIDING_COUNTER = "sliding_counter", "sliding window, counter"

    class OnLimit(models.TextChoices):
        REJECT = "reject", "reject"
        QUEUE = "queue", "queue: let the request wait"
        LOG = "log", "log: let the request pass and log a warning"

    class OnFailure(models.TextChoices):
        OPEN = "open", "open: let all requests pass"
        CLOSED = "closed", "closed: refuse all requests"
        SHARE = "share", "share: each process grants its share"

    class Fleet(models.TextChoices):
        ALL = "all"
        MAIN = "main"
        CANARY = "canary"

    name = models.SlugField(max_length=40, unique=True)
    applies_to = models.CharField(max_length=40, choices=PLACES)
    key = models.CharField(max_length=8, choices=Key.choices)
    algorithm = models.CharField(max_length=16, choices=Algorithm.choices)
    rate = models.PositiveIntegerField(help_text="Units per window.")
    window_ms = models.PositiveIntegerField("window (ms)", default=1000)
    burst = models.PositiveIntegerField(default=0, help_text="Token bucket: units that may pass at once after an idle time.")
    max_wait_ms = models.PositiveIntegerField(
        "longest wait (ms)", default=0, help_text="Leaky bucket: longest time that a request waits."
    )
    sub_rate = models.PositiveIntegerField(default=0, help_text="Sliding window: units per sub-window. 0 for no sub-window.")
    sub_window_ms = models.PositiveIntegerField("sub-window (ms)", default=0)
    warm_up_ms = models.PositiveIntegerField(
        "warm-up (ms)", default=0, help_text="Token bucket: duration of the ramp-up after an idle time. 0 for no warm-up."
    )
    on_limit = models.CharField(max_length=8, choices=OnLimit.choices, default=OnLimit.REJECT)
    on_failure = models.CharField("when Redis is down", max_length=8, choices=OnFailure.choices, default=OnFailure.OPEN)
    fleet = models.CharField(max_length=8, choices=Fleet.choices, default=Fleet.ALL)
    enabled = models.BooleanField(default=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering = ["applies_to", "name"]
        verbose_name = "rate limit"

    def __str__(self) -> str:
        return self.name

    def as_rule(self) -> Rule:
        """The rule as a value, not validated."""
        return Rule(
            name=self.name,
            applies_to=self.applies_to,
            key=self.key,  # type: ignore[arg-type]
            algorithm=self.algorithm,
            rate=self.rate,
            window_ms=self.window_ms,
            burst=self.burst,
            max_wait_ms=self.max_wait_ms,
            sub_rate=self.sub_rate,
            sub_window_ms=self.sub_window_ms,
            warm_up_ms=self.warm_up_ms,
            on_limit=self.on_limit,  # type: ignore[arg-type]
            on_failure=self.on_failure,  # type: ignore[arg-type]
            fleet=self.fleet,
            enabled=self.enabled,
        )

    def clean(self) -> None:
        """
        Raises:
            ValidationError: the rule is not valid.
        """
        if None in (
            self.rate,
            self.window_ms,
            self.burst,
            self.max_wait_ms,
            self.sub_rate,
            self.sub_window_ms,
            self.warm_up_ms,
        ):
            return  # the field's own validation reports it
        try:
            self.as_rule().validate()
        except ConfigurationError as error:
            raise ValidationError(str(error)) from error
        same = LimitRule.objects.filter(applies_to="admission", enabled=True, fleet=self.fleet).exclude(pk=self.pk)
        if self.applies_to == "admission" and self.enabled and same.exists():
            raise ValidationError("A fleet can have only one admission rule. Change or disable the other rule first.")


class BreakerRule(models.Model):
    """When the circuit breaker of an outgoing call opens; see ``flashsale.core.breaker.BreakerLimits``."""

    name = models.SlugField(max_length=40, unique=True, help_text="Name of the payment provider or of another outgoing call.")
    error_percent = models.PositiveSmallIntegerField(
        default=50, help_text="Share of failed calls in the window that opens the breaker. 0 turns it off."
    )
    slow_percent = models.PositiveSmallIntegerField(
        default=80, help_text="Share of slow calls in the window that opens the breaker. 0 turns it off."
    )
    slow_ms = models.PositiveIntegerField("slow from (ms)", default=5_000)
    window_ms = models.PositiveIntegerField("window (ms)", default=30_000)
    min_calls = models.PositiveIntegerField("fewest calls", default=20, help_text="Minimum number of calls in the window.")
    open_ms = models.PositiveIntegerField("open time (ms)", default=10_000, help_text="Time until the first probe.")
    probes = models.PositiveSmallIntegerField(
        default=3, help_text="Number of probes. All must succeed to close the breaker; one failure opens it again."
    )
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering = ["name"]
        verbose_name = "circuit breaker"

    def __str__(self) -> str:
        return self.name

    def as_values(self) -> dict[str, Any]:
        """JSON values, as every process takes them."""
        return {
            "failures": 0,
            "error_ratio": self.error_percent / 100,
            "slow_ratio": self.slow_percent / 100,
            "slow_s": self.slow_ms / 1000,
            "window_s": self.window_ms / 1000,
            "min_calls": self.min_calls,
            "open_s": self.open_ms / 1000,
            "probes": self.probes,
        }

    def clean(self) -> None:
        """
        Raises:
            ValidationError: the rule could not do what it says.
        """
        times = ("slow_ms", "window_ms", "open_ms")
        errors = {name: "0 to 100." for name in ("error_percent", "slow_percent") if (getattr(self, name) or 0) > 100}
        errors |= {name: "At least 1." for name in (*times, "min_calls", "probes") if getattr(self, name) == 0}
        errors |= {name: "A day at most." for name in times if (getattr(self, name) or 0) > 86_400_000}
        if errors:
            raise ValidationError(errors)


class RuleChange(models.Model):
    """A change of a rule. Append-only. ``before`` is null for a new rule, ``after`` for a deleted one."""

    rule = models.CharField(max_length=40)
    actor = models.CharField(max_length=150)
    at = models.DateTimeField(auto_now_add=True)
    before: "models.JSONField[Any, Any]" = models.JSONField(null=True)
    after: "models.JSONField[Any, Any]" = models.JSONField(null=True)

    class Meta:
        ordering = ["-pk"]

    def __str__(self) -> str:
        return f"{self.rule}, {self.at:%Y-%m-%d %H:%M:%S}"
