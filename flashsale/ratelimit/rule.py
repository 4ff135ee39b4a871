"""A rule: a limit with a name, a place, a key, and what happens over it and when Redis is gone."""

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

_LONGEST_BLOCK_MS = 2_000  # a request that waits holds a thread
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
        key: what is counted apart: everybody together, or each address, customer or item, or each account name at the
            sign-in, whether there is such an account or not.
        algorithm: ``token_bucket``, ``leaky_bucket``, ``sliding_log`` or ``sliding_counter``.
        rate: units per ``window_ms``.
        burst: of a token bucket.
        max_wait_ms: of a leaky bucket.
        sub_rate, sub_window_ms: of a sliding window; 0 for none.
        warm_up_ms: of a token bucket; 0 for none.
        on_limit: refuse, let the request wait for its turn, or only say so in log and metrics.
        on_failure: when Redis is gone, let everything pass, nothing, or this node's share.
        fleet: the web processes it is for, ``main``, ``canary``, or ``all`` of them.
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
            ConfigurationError: the rule's numbers make no limit.
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
        raise ConfigurationError(f"there is no algorithm {self.algorithm!r}")

    def validate(self) -> None:
        """
        Raises:
            ConfigurationError: the rule could not do what it says.
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
            raise ConfigurationError("only a leaky bucket can make a request wait for its turn")
        is_of_queue = self.applies_to.startswith(("consume:", "produce:", "call:"))
        if self.algorithm == "leaky_bucket" and self.on_limit == "reject" and not is_of_queue:
            raise ConfigurationError("a leaky bucket gives turns: let it queue, or take a token bucket to reject")

    def _require_api(self, endpoint: str) -> None:
        if self.max_wait_ms > _LONGEST_BLOCK_MS:
            raise ConfigurationError(f"a request waits for its turn for at most {_LONGEST_BLOCK_MS} ms")
        if self.key == "customer" and endpoint in _WITHOUT_CUSTOMER:
            raise ConfigurationError(f"{endpoint} is open to everybody, there is no customer to count")
        if self.key == "item" and endpoint not in ("", "purchase-tokens"):
            raise ConfigurationError("only the requests for purchase tokens name an item in their address")
        if self.key == "account" and endpoint != "auth-token":
            raise ConfigurationError("only a sign-in names an account")

    def _require_admission(self, _part: str) -> None:
        if self.algorithm != "token_bucket" or self.key != "item" or self.warm_up_ms:
            raise ConfigurationError("admission takes a token bucket without warm-up, per item")
        if self.on_failure != "open":
            raise ConfigurationError("the gate's script decides admission; without the gate nothing is admitted at all")

    def _require_queue(self, _queue: str) -> None:
        if self.applies_to.startswith(("consume:", "call:")) and self.algorithm != "leaky_bucket":
            raise ConfigurationError("a queue is consumed, and a provider called, at the pace of a leaky bucket")
        if self.key != "all":
            raise ConfigurationError("a queue has one rate for everybody")

    def _require_gateway(self, _part: str) -> None:
        if self.key not in ("all", "address") or self.on_limit == "queue":
            raise ConfigurationError("the gateway knows the address, and cannot make a request wait")

    def _require_no_idle_number(self) -> None:
        used = {"token_bucket": ("burst", "warm_up_ms"), "leaky_bucket": ("max_wait_ms",)}.get(
            self.algorithm, ("sub_rate", "sub_window_ms")
        )
        for name in ("burst", "max_wait_ms", "sub_rate", "sub_window_ms", "warm_up_ms"):
            if getattr(self, name) and name not in used:
                raise ConfigurationError(f"a {self.algorithm.replace('_', ' ')} has no {name}")

    def redis_key(self, value: str) -> str:
        """The key of one address, customer, item; all of them in one slot, so that one script may touch several.

        It names the kind of state, so that a rule whose algorithm is changed never meets the state of the old one.
        """
        if len(value) > _LONGEST_KEY:
            value = sha256(value.encode()).hexdigest()
        return f"fs:{{limits}}:{self.name}:{self._state_kind}:{value}"

    @cached_property
    def _state_kind(self) -> str:
        return f"{self.limit.code}{'s' if self.sub_rate else ''}{'w' if self.warm_up_ms else ''}"

    def as_values(self) -> dict[str, Any]:
        """JSON values."""
        return asdict(self)

    @classmethod
    def from_values(cls, values: Mapping[str, Any]) -> "Rule":
        """
        Raises:
            TypeError, ConfigurationError: not a rule.
        """
        rule = cls(**values)
        rule.validate()
        return rule


def _nowhere(_part: str) -> None:
    raise ConfigurationError("a rule applies to the API, the admission, the gateway or a queue")


@lru_cache(maxsize=1024)
def share_of(limit: Algorithm, nodes: int) -> Algorithm:
    """The part of a limit that one of ``nodes`` nodes grants by itself."""
    return limit.share(max(1, nodes))
