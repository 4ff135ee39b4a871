"""What the mirror answers while a rehearsal runs: nobody gets its answers, but the gateway counts them."""

import threading
import time
from collections import Counter
from types import TracebackType

from django.conf import settings

from flashsale.gateway import envoy_admin
from flashsale.loadtest.tally import FleetTally

_EVERY_S = 0.1
_QUIET_S, _LONGEST_S = 1.0, 10.0  # the last copies are under way when the last buyer has its answer
_PREFIX = "cluster.mirror.upstream_rq_"
_TOKEN, _ADMITTED, _LIMITED = "201", "202", "429"


class MirrorWatch:
    """While the context is open: ``tally``, per second since then, and ``answers`` by status.

    Of a buyer whose purchase token the mirror grants the order counts; another buyer is counted by the refusal. What others
    than the rehearsal's buyers send to the shop at the same time is in it.
    """

    def __init__(self) -> None:
        self.tally = FleetTally()
        self.answers: Counter[str] = Counter()
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True, name="mirror-watch")

    def __enter__(self) -> "MirrorWatch":
        self._before = _answered() or Counter()
        self._began = time.monotonic()
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._done.set()
        if kind is None:
            self._thread.join()

    def _watch(self) -> None:
        while not self._done.wait(_EVERY_S):
            self._look()
        quiet_since = ended = time.monotonic()
        while time.monotonic() < min(quiet_since + _QUIET_S, ended + _LONGEST_S):
            if self._look():
                quiet_since = time.monotonic()
            time.sleep(_EVERY_S)

    def _look(self) -> bool:
        """Whether there was anything new."""
        answered = _answered()
        if answered is None:
            return False
        second, new = int(time.monotonic() - self._began), answered - self._before
        self._before = answered
        self.answers += new
        self.tally.admitted[second] += new[_ADMITTED]
        self.tally.limited[second] += new[_LIMITED]
        self.tally.offered[second] += new.total() - new[_TOKEN]
        return bool(new)


def _answered() -> Counter[str] | None:
    """How often the mirror has answered with each status, as the gateway counts; None when it does not say."""
    try:
        found = envoy_admin.ask_json(settings.GATEWAY_ADMIN, "/stats?format=json&filter=cluster.mirror.upstream_rq_[0-9]%2B$")[
            "stats"
        ]
    except (OSError, ValueError, KeyError):
        return None
    return Counter({stat["name"].removeprefix(_PREFIX): int(stat["value"]) for stat in found if "name" in stat})
