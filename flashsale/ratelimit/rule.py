"""A rate-limit rule."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property, lru_cache
from hashlib import sha256
from typing import Any, Literal

from flashsale.ratelimit.algorithms.leaky_bucket import LeakyBucket
from flashsale.ratelimit.algorithms.sliding_counter import SlidingCounter
from flashsale.ratelimit.algorithms.sliding_log import SlidingLog
from flashsale.ratelimit.algorithms.token_bucket import TokenBucket
from flashsale.ratelimit.limit import Algorithm, ConfigurationError

KeyKind = Literal["all", "address", "customer", "item", "account"]
OnLimit = Literal["reject", "queue", "log"]
OnFailure = Literal["open", "closed", "share"]

_LONGEST_BLOCK_MS = 2_000  # a waiting request occupies a thread
_LONGEST_KEY = 100
_WITHOUT_CUSTOMER = frozenset(
    {"auth-token", "auth-token-refresh", "auth-token-revoke", "sales", "sale", "webhook", "schema", "docs"}
)


@dataclass(frozen=True)
class Rule:
    """
    Args:
        name: unique; part of the limit's keys.
        applies_to: ``api``, ``api:<endpoint>``, ``admission``, ``gateway``, ``produce:<queue>`` or ``consume:<queue>``.
        key: what is counted separately: everything together, each address, customer or item, or each account name at
            sign-in, whether the account exists or not.
        algorithm: ``token_bucket``, ``leaky_bucket``, ``sliding_log`` or ``sliding_counter``.
        rate: units per ``window_ms``.
        burst: of a token bucket.
        max_wait_ms: of a leaky bucket.
        sub_rate, sub_window_ms: of a sliding window; 0 for none.
        warm_up_ms: of a token bucket; 0 for none.
        on_limit: over the limit, reject the request, let it wait, or only log it.
        on_failure: while Redis is down, allow all requests, none, or this node's share.
        fleet: the web processes to which it applies: ``main``, ``canary`` or ``all``.
    """

    name: str
    applies_to: str
    key: KeyKind
    algorithm: str
    rate: int
    window_ms: int = 1000
    burst: int = 0
    max_wait_ms: int = 0
    sub_rate: int = 0
    sub_window_ms: int = 0
    warm_up_ms: int = 0
    on_limit: OnLimit = "reject"
    on_failure: OnFailure = "open"
    fleet: str = "all"
    enabled: bool = True

    @cached_property
    def limit(self) -> Algorithm:
        """
        Raises:
            ConfigurationError: the rule's values are not a valid limit.
        """
        window_us = self.window_ms * 1000
        if self.algorithm == "token_bucket":
            return TokenBucket(self.rate, window_us, self.burst, self.warm_up_ms)
        if self.algorithm == "leaky_bucket":
            return LeakyBucket(self.rate, window_us, self.max_wait_ms * 1000)
        if self.algorithm == "sliding_log":
            return SlidingLog(self.rate, window_us, self.sub_rate, self.sub_window_ms * 1000)
        if self.algorithm == "sliding_counter":
            return SlidingCounter(self.rate, window_us, self.sub_rate, self.sub_window_ms * 1000)
        raise ConfigurationError(f"unknown algorithm {self.algorithm!r}")

    def validate(self) -> None:
        """
        Raises:
            ConfigurationError: the rule is not valid.
        """
        self.limit.parameters()
        self._require_an_answer()
        place, _, part = self.applies_to.partition(":")
        {
            "api": self._require_api,
            "admission": self._require_admission,
            "consume": self._require_queue,
            "produce": self._require_queue,
            "gateway": self._require_gateway,
            "call": self._require_queue,
        }.get(place, _nowhere)(part)
        self._require_no_idle_number()

    def _require_an_answer(self) -> None:
        if self.on_limit == "queue" and self.algorithm != "leaky_bucket":
            raise ConfigurationError('on_limit "queue" requires a leaky bucket')
        is_of_queue = self.applies_to.startswith(("consume:", "produce:", "call:"))
        if self.algorithm == "leaky_bucket" and self.on_limit == "reject" and not is_of_queue:
            raise ConfigurationError('a leaky bucket requires on_limit "queue"; use a token bucket to reject')

    def _require_api(self, endpoint: str) -> None:
        if self.max_wait_ms > _LONGEST_BLOCK_MS:
            raise ConfigurationError(f"the longest wait of a request must be at most {_LONGEST_BLOCK_MS} ms")
        if self.key == "customer" and endpoint in _WITHOUT_CUSTOMER:
            raise ConfigurationError(f"{endpoint} has no customer, because it needs no sign-in")
        if self.key == "item" and endpoint not in ("", "purchase-tokens"):
            raise ConfigurationError("only requests for purchase tokens have an item in their URL")
        if self.key == "account" and endpoint != "auth-token":
            raise ConfigurationError("only sign-in requests have an account name")

    def _require_admission(self, _part: str) -> None:
        if self.algorithm != "token_bucket" or self.key != "item" or self.warm_up_ms:
            raise ConfigurationError("an admission rule must be a token bucket per item without warm-up")
        if self.on_failure != "open":
            raise ConfigurationError('an admission rule must have on_failure "open": without Redis no order is admitted anyway')

    def _require_queue(self, _queue: str) -> None:
        if self.applies_to.startswith(("consume:", "call:")) and self.algorithm != "leaky_bucket":
            raise ConfigurationError("a rule for a queue's consumers or for provider calls must be a leaky bucket")
        if self.key != "all":
            raise ConfigurationError("a queue rule must not have a key")

    def _require_gateway(self, _part: str) -> None:
        if self.key not in ("all", "address") or self.on_limit == "queue":
            raise ConfigurationError("a gateway rule must count addresses or everything together, and cannot queue requests")

    def _require_no_idle_number(self) -> None:
        used = {"token_bucket": ("burst", "warm_up_ms"), "leaky_bucket": ("max_wait_ms",)}.get(
            self.algorithm, ("sub_rate", "sub_window_ms")
        )
        for name in ("burst", "max_wait_ms", "sub_rate", "sub_window_ms", "warm_up_ms"):
            if getattr(self, name) and name not in used:
                raise ConfigurationError(f"a {self.algorithm.replace('_', ' ')} has no {name}")

    def redis_key(self, value: str) -> str:
        """The Redis key of a value. All keys share a slot, so that one script can use several.

        The key contains the kind of state, so that a rule never reads the state of its former algorithm.
        """
        if len(value) > _LONGEST_KEY:
            value = sha256(value.encode()).hexdigest()
        return f"fs:{{limits}}:{self.name}:{self._state_kind}:{value}"

    @cached_property
    def _state_kind(self) -> str:
        return f"{self.limit.code}{'s' if self.sub_rate else ''}{'w' if self.warm_up_ms else ''}"

    def as_values(self) -> dict[str, Any]:
        """The rule as JSON values."""
        return asdict(self)

    @classmethod
    def from_values(cls, values: Mapping[str, Any]) -> "Rule":
        """
        Raises:
            TypeError, ConfigurationError: the values are not a valid rule.
        """
        rule = cls(**values)
        rule.validate()
        return rule


def _nowhere(_part: str) -> None:
    raise ConfigurationError("a rule must apply to the API, the admission, the gateway or a queue")


@lru_cache(maxsize=1024)
def share_of(limit: Algorithm, nodes: int) -> Algorithm:
    """The share of a limit that one of ``nodes`` nodes grants locally."""
    return limit.share(max(1, nodes))
