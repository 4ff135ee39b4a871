"""Log format: one line per event with time, level, logger, message and the ``extra`` values."""

import json
import logging

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "data", "taskName"}


class EventFormatter(logging.Formatter):
    """Formats a record together with its ``extra`` values."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s %(message)s")

    def format(self, record: logging.LogRecord) -> str:
        line = super().format(record)
        values = {key: value for key, value in vars(record).items() if key not in _STANDARD}
        return f"{line} {json.dumps(values, default=str)}" if values else line
