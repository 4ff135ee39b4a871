"""Make a failing run short: take actions out for as long as it still breaks the same promise."""

from collections.abc import Callable

from tests.simulation.scheduler import Plan, Run, what_breaks


def shrink(plan: Plan, name: str, make_run: Callable[[Plan], Run]) -> Plan:
    """A plan from which no single action can be taken; it breaks the invariant ``name`` as ``plan`` does."""

    def breaks(actions) -> bool:
        broken = what_breaks(make_run(plan._replace(actions=actions)))
        return broken is not None and broken.name == name

    actions, size = plan.actions, max(1, len(plan.actions) // 2)
    while True:
        start, taken = 0, False
        while start < len(actions):
            fewer = actions[:start] + actions[start + size :]
            if breaks(fewer):
                actions, taken = fewer, True
            else:
                start += size
        if size == 1 and not taken:
            return plan._replace(actions=actions)
        size = max(1, size // 2)
