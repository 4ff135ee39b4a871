"""A canary during a rehearsal: some customers get a limit that the others do not have."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from django.conf import settings

from flashsale.gateway import canary, routes
from flashsale.ratelimit.rules import services
from flashsale.ratelimit.rules.models import LimitRule

_NAME = "rehearsal-canary"
_ACTOR = "rehearsal"


class NoGateway(Exception):
    """The gateway did not apply the setting."""


@contextmanager
def canary_trial(setting: canary.Setting, rate: int | None) -> Iterator[None]:
    """Apply the setting, and a rule by which the canary admits ``rate`` orders per second and item.

    Both are undone afterwards, also after Ctrl-C and SIGTERM. Call it in the main thread.

    Raises:
        NoGateway: no gateway applied the setting. The change is undone.
    """
    directory = Path(settings.GATEWAY_DIR)
    before = routes.current_canary(directory)
    LimitRule.objects.filter(name=_NAME).delete()  # left by a rehearsal that was killed
    rule = LimitRule(name=_NAME, applies_to="admission", key="item", algorithm="token_bucket", fleet="canary")
    rule.rate, rule.burst = rate or 0, rate or 0
    on_sigterm = signal.signal(signal.SIGTERM, _as_ctrl_c)
    try:
        if rate:
            services.save_rule(rule, actor=_ACTOR)
        if not routes.put_in_force(directory, setting):
            raise NoGateway(f"no gateway applied `{setting}` at {settings.GATEWAY_ADMIN}; is `make up` running?")
        yield
    finally:
        routes.put_in_force(directory, before)
        if rate:
            services.delete_rule(rule, actor=_ACTOR)
        signal.signal(signal.SIGTERM, on_sigterm)


def _as_ctrl_c(*_: object) -> None:
    """Handle SIGTERM like SIGINT. A shell makes background processes ignore SIGINT, which is handled here too."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        raise KeyboardInterrupt
    signal.raise_signal(signal.SIGINT)
