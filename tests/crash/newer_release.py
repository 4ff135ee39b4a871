"""Makes the process that imports it one of a newer release: ``celery ... -I tests.crash.newer_release``.

Its orders have one required field more, and its payloads are of version 2: it cannot read those of version 1, and the present
release cannot read its own.
"""

import sys

from inventory.admission.admitted import VERSION, AdmittedOrder

FIELD = "promise"
_read = AdmittedOrder.from_payload.__func__
_write = AdmittedOrder.as_payload


def _from_payload(cls, payload):
    if payload.get("v", 1) <= VERSION:
        raise KeyError(FIELD)
    order = _read(cls, payload | {"v": VERSION})
    assert FIELD in order.extra
    return order


setattr(AdmittedOrder, "from_payload", classmethod(_from_payload))  # noqa: B010
setattr(AdmittedOrder, "as_payload", lambda order: _write(order) | {"v": VERSION + 1})  # noqa: B010


def main():
    """``python -m tests.crash.newer_release COMMAND``: a command of ``manage.py`` of the newer release."""
    import django
    from django.core.management import execute_from_command_line

    django.setup()
    execute_from_command_line(sys.argv)


if __name__ == "__main__":
    main()
