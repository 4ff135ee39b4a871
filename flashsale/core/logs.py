"""One line per event: time, level, logger, sentence, then the named values."""

import json
import logging

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "data", "taskName"}


class EventFormatter(logging.Formatter):
    """Formats a record and whatever was given in ``extra``."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s %(message)s")

    def format(self, record: logging.LogRecord) -> str:
        line = super().format(record)
        values = {key: value for key, value in vars(record).items() if key not in _STANDARD}
        return f"{line} {json.dumps(values, default=str)}" if values else line
