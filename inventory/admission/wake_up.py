"""Wake the dispatcher. The task is sent by name."""

from flashsale.core import messages


def wake(item: int | None) -> None:
    """Wake the dispatcher for the waiting orders of ``item``, or for the held-back items if None. Never raises."""
    messages.publish("tasks.dispatch", item)
