"""The state of an item that is the same for all customers."""

from collections.abc import Sequence
from dataclasses import dataclass

from flashsale.core.errors import FlashsaleError
from flashsale.core.lua import Script
from flashsale.core.redis_client import gate_client
from inventory.admission import keys
from inventory.admission.codes import AdmitCode
from inventory.admission.gate.calls import CLOSED, LUA, guarded, refusal_of

_LOOK = Script(LUA / "look-3.lua", parts=[CLOSED])


@dataclass(frozen=True, slots=True)
class Announced:
    """``left``: units that can be admitted, None without a gate. ``refusal``: the error for all token requests, if any."""

    left: int | None
    refusal: FlashsaleError | None


@guarded
def announced(items: Sequence[int]) -> dict[int, Announced]:
    """The state of each of these items, in two round trips. Writes nothing. May run twice."""
    answers = _LOOK.each(gate_client(), [([keys.meta(item), keys.stock(item), keys.held(item)], []) for item in items])
    return {item: _announced(AdmitCode(code), int(left)) for item, (code, left) in zip(items, answers, strict=True)}


def _announced(code: AdmitCode, left: int) -> Announced:
    if code is AdmitCode.GATE_MISSING:
        return Announced(None, None)
    return Announced(left, None if code is AdmitCode.ADMITTED else refusal_of(code))
