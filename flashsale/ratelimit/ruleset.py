"""The active rules of this process: read from Redis every half second. While Redis is down the last rules stay active.

``flashsale.ratelimit.rules.publish`` writes them from the database to Redis, on every change and in a sweep.
"""

import json
import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import redis

from flashsale.ratelimit.limit import ConfigurationError
from flashsale.ratelimit.rule import Rule

logger = logging.getLogger(__name__)
RULES_KEY = "fs:{limits}:rules"
VERSION_KEY = "fs:{limits}:rules:version"
NODES_KEY = "fs:{limits}:nodes"
REFRESH_S = 0.5
_NODE_LIFE_S = 5


@dataclass(frozen=True, slots=True)
class _InForce:
    version: str
    by_place: dict[str, tuple[Rule, ...]]


def parse(text: str, last_good: Sequence[Rule] = ()) -> tuple[Rule, ...]:
    """Parse published rules. Unreadable rules are logged and left out.

    A list is format 1; a newer format is an object with ``v`` and ``rules``. If a newer release wrote a rule, the last readable
    rule of that name stays active. A process that has none uses the fields that it knows.
    """
    published = json.loads(text)
    is_newer = isinstance(published, dict)
    known = {rule.name: rule for rule in last_good}
    rules = []
    for values in published["rules"] if is_newer else published:
        try:
            rules.append(_read(values, known, is_newer=is_newer))
        except (TypeError, AttributeError, ConfigurationError) as error:
            logger.error(
                "rule is not valid and was left out", extra={"event": "rule_broken", "rule": str(values), "error": repr(error)}
            )
    return tuple(rules)


def _read(values: Mapping[str, Any], known: Mapping[str, Rule], *, is_newer: bool) -> Rule:
    unknown = values.keys() - _FIELDS
    if not unknown and not is_newer:
        try:
            return Rule.from_values(values)
        except (TypeError, ConfigurationError):
            if values.get("name") not in known:
                raise
    logger.warning(
        "rule was written by a newer release", extra={"event": "rule_newer", "rule": str(values), "unknown": sorted(unknown)}
    )
    if (kept := known.get(values.get("name", ""))) is not None:
        return kept
    return Rule.from_values({name: value for name, value in values.items() if name in _FIELDS})


_FIELDS = frozenset(each.name for each in fields(Rule))


class RuleSet:
    """Rules by place, at most a second old while Redis answers. Thread-safe."""

    def __init__(
        self,
        client: "Callable[[], redis.Redis]",
        *,
        fleet: str,
        node: str,
        load: Callable[[], str],
        on_rules: Callable[[], None] = lambda: None,
        on_nodes: Callable[[int], None] = lambda nodes: None,
    ) -> None:
        """
        Args:
            client: the Redis in which rules are published and nodes are counted.
            fleet: only rules for this fleet and for all fleets are active.
            node: name of this process among the nodes that share the limits.
            load: returns the rules as JSON from the database, if Redis has none.
            on_rules: called after new rules became active.
            on_nodes: called with the number of live nodes after it changed.
        """
        self._client = client
        self._fleet = fleet
        self._node = node
        self._load = load
        self._on_rules = on_rules
        self._on_nodes = on_nodes
        self._lock = threading.Lock()
        self._looked_at = -REFRESH_S
        self._in_force: _InForce | None = None
        self._is_kept = False
        self._last_good: tuple[Rule, ...] = ()
        self.nodes = 1

    def at(self, *places: str) -> list[Rule]:
        """The enabled rules for these places. No round trip in a process that keeps them fresh."""
        by_place = self._current().by_place
        return [rule for place in places for rule in by_place.get(place, ())]

    def in_force_at(self, *places: str) -> list[Rule]:
        """Like :meth:`at`, without a refresh. For callers that run :meth:`refresh` themselves."""
        by_place = self._in_force.by_place if self._in_force else {}
        return [rule for place in places for rule in by_place.get(place, ())]

    def refresh(self) -> None:
        """Read new rules if it is time."""
        self._current()

    def keep_fresh(self) -> None:
        """Read new rules in a background thread for as long as the process lives.

        No request waits for it, and an idle process is counted as a node too.
        """

        def look() -> None:
            while True:
                time.sleep(REFRESH_S)
                self._looked_at = -REFRESH_S
                self._renewed()

        self._renewed()
        self._is_kept = True

        threading.Thread(target=look, daemon=True, name="rules").start()

    def forget(self) -> None:
        """Read the rules again at the next use."""
        self._looked_at = -REFRESH_S

    def _current(self) -> _InForce:
        if self._in_force and (self._is_kept or time.monotonic() - self._looked_at < REFRESH_S):
            return self._in_force
        return self._renewed()

    def _renewed(self) -> _InForce:
        # One thread looks; the others go on with what they have, unless there is nothing.
        if self._lock.acquire(blocking=self._in_force is None):
            try:
                if time.monotonic() - self._looked_at >= REFRESH_S or self._in_force is None:
                    self._look()
                    self._looked_at = time.monotonic()
            finally:
                self._lock.release()
        return self._in_force or self._take("", ())

    def _look(self) -> None:
        try:
            version, nodes = self._ask()
            if nodes != self.nodes:
                self.nodes = nodes
                self._on_nodes(nodes)
            if self._in_force and version and version == self._in_force.version:
                return
            text = self._client().get(RULES_KEY) if version else None
        except redis.RedisError:
            if self._in_force:
                return
            version, text = None, None
        try:
            self._take(version or "", parse(str(text or self._load()), self._last_good))
        except Exception as error:
            # Keep the active rules if their source fails.
            logger.exception("rules could not be read", extra={"event": "rules_unreadable", "error": repr(error)})

    def _ask(self) -> tuple[str | None, int]:
        moment = time.time()
        pipe = self._client().pipeline(transaction=False)
        pipe.get(VERSION_KEY)
        pipe.zadd(NODES_KEY, {self._node: moment})
        pipe.zremrangebyscore(NODES_KEY, 0, moment - _NODE_LIFE_S)
        pipe.zcard(NODES_KEY)
        pipe.expire(NODES_KEY, 60)
        answers = pipe.execute()
        return str(answers[0]) if answers[0] else None, max(1, int(answers[3]))

    def _take(self, version: str, rules: Sequence[Rule]) -> _InForce:
        by_place: dict[str, tuple[Rule, ...]] = {}
        self._last_good = tuple(rules)
        for rule in rules:
            if rule.enabled and rule.fleet in ("all", self._fleet):
                by_place[rule.applies_to] = (*by_place.get(rule.applies_to, ()), rule)
        self._in_force = _InForce(version, by_place)
        self._on_rules()
        return self._in_force
