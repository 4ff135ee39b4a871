"""Makes the process that imports it die at one point of an order's way: ``celery ... -I tests.crash.armed``.

The product knows nothing of it. The function of the point is wrapped, never replaced: it does what it does, and at the
point the whole process group gets the signal, after a line of evidence has been written.

``CRASH_POINT``: a name of ``points.POINTS``, or ``module:attribute`` for "before" it. ``CRASH_EVIDENCE``: the file.
``CRASH_ITEM``: the test's item. ``CRASH_SIGNAL``: KILL, or STOP for a process that is to wake up again.
"""

import os
import signal
import sys
from collections.abc import Generator
from contextlib import contextmanager
from functools import wraps
from importlib import import_module
from pathlib import Path

from tests.crash.points import POINTS, Point

NAME = os.environ["CRASH_POINT"]
_EVIDENCE = Path(os.environ["CRASH_EVIDENCE"])
_SIGNAL = signal.Signals[f"SIG{os.environ.get('CRASH_SIGNAL', 'KILL')}"]


def _die():
    if not _EVIDENCE.exists():  # one that was stopped and goes on does not stop again
        _EVIDENCE.write_text(f"{NAME}\n{os.getpid()}\n")
        os.killpg(os.getpgrp(), _SIGNAL)


@contextmanager
def _dying_at_commit():
    from django.db.backends.base.base import BaseDatabaseWrapper

    commit = BaseDatabaseWrapper.commit
    setattr(BaseDatabaseWrapper, "commit", lambda connection: _die() or commit(connection))  # noqa: B010
    try:
        yield
    finally:
        setattr(BaseDatabaseWrapper, "commit", commit)  # noqa: B010


def _is_ours(point, args):
    return not point.of_item or args[0] == int(os.environ["CRASH_ITEM"])


def _dying_at_the_end(steps):
    """Work that is written as steps has been done once its generator ends."""
    yield from steps
    _die()


def arm(point):
    module, _, path = point.target.partition(":")
    owner = import_module(module)
    *parents, name = path.split(".")
    for parent in parents:
        owner = getattr(owner, parent)
    real = getattr(owner, name)

    @wraps(real)
    def until_the_point(*args, **kwargs):
        if not _is_ours(point, args):
            return real(*args, **kwargs)
        if point.moment == "before":
            _die()
        if point.moment == "before commit":
            with _dying_at_commit():
                return real(*args, **kwargs)
        result = real(*args, **kwargs)
        if point.moment == "after" and isinstance(result, Generator):
            return _dying_at_the_end(result)
        if point.moment == "after":
            _die()
        return result

    setattr(owner, name, until_the_point)


def main():
    """``python -m tests.crash.armed COMMAND``: a command of ``manage.py`` in a process that is to die or to stop."""
    from django.core.management import execute_from_command_line

    execute_from_command_line(sys.argv)


if __name__ == "__main__":
    import django

    django.setup()
arm(POINTS.get(NAME) or Point("chain", NAME, "before"))
if __name__ == "__main__":
    main()
