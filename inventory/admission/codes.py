"""Return codes of the Lua scripts. The script headers list the same numbers; a test compares them."""

from enum import IntEnum


class AdmitCode(IntEnum):
    """First element returned by ``admit`` and ``issue``."""

    ADMITTED = 0
    REPLAYED = 1
    MISMATCH = 2
    SEQ_TAKEN = 3
    GATE_MISSING = 4
    NOT_OPEN = 5
    PAUSED = 6
    ENDED = 7
    TOKEN_INVALID = 8
    TOKEN_USED = 9
    QUANTITY_OVER = 10
    LIMIT_PER_CUSTOMER = 11
    BUSY = 12
    SOLD_OUT = 13
    RATE_LIMITED = 14
    WAITING = 15
    TICKET_LAPSED = 16
    CALLED_UP = 17
    PRICE_CHANGED = 18
    TOO_MANY_UNPAID = 19


class EffectCode(IntEnum):
    """First element returned by ``settle``, ``release``, ``configure`` and ``withhold``."""

    DONE = 0
    GATE_MISSING = 1
    REBUILDING = 2
    FENCED = 3
    TOO_FEW = 4
