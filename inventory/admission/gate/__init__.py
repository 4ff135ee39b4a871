"""The gate: the one place that speaks to Redis about stock. Knows no model.

Every function raises ``GateUnavailable`` when Redis cannot be reached or cannot write, and may run twice.
"""

from inventory.admission.gate.admission import Admission, IssuedToken, admit, issue_token, learn_token, plain
from inventory.admission.gate.calls import CLOSED, LUA, TERMS, WHOLE, guarded, refuse
from inventory.admission.gate.decided import configure, fields, forget, release, settle, withhold
from inventory.admission.gate.sight import (
    GateSnapshot,
    Sight,
    is_rebuilding,
    look_for,
    open_stocks,
    queued_of,
    snapshot,
    stocks,
    versions,
    wrong_terms,
)
from inventory.admission.gate.stream import (
    Claim,
    Entry,
    Turn,
    ack,
    claim,
    drop,
    hold_back,
    may_be_claimed,
    steal,
    stream_orders,
    turns,
    waiting,
    wake_once,
)

__all__ = [
    "CLOSED",
    "LUA",
    "TERMS",
    "WHOLE",
    "Admission",
    "Claim",
    "Entry",
    "GateSnapshot",
    "IssuedToken",
    "Sight",
    "Turn",
    "ack",
    "admit",
    "claim",
    "configure",
    "drop",
    "fields",
    "forget",
    "guarded",
    "hold_back",
    "is_rebuilding",
    "issue_token",
    "learn_token",
    "look_for",
    "may_be_claimed",
    "open_stocks",
    "plain",
    "queued_of",
    "refuse",
    "release",
    "settle",
    "snapshot",
    "steal",
    "stocks",
    "stream_orders",
    "turns",
    "versions",
    "waiting",
    "wake_once",
    "withhold",
    "wrong_terms",
]
