"""Tells the dispatcher, by the name of its task, that orders wait."""

from flashsale.core import messages


def wake(item: int | None) -> None:
    """Wake the dispatcher for the orders of this item, or with None for those that the pace has held back. Never raises."""
    messages.publish("tasks.dispatch", item)
