"""Rebuild complete gates, many at once: begin, stage, open. Uses no models.

The fencing token of a gate is the number of the lock under which it is rebuilt. A caller with a lower token than the gate has
seen is refused, and so is one that comes after another caller finished the rebuild. Their staged data expires.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from flashsale.core.lua import Script
from flashsale.core.redis_client import gate_client
from inventory.admission import gate, keys
from inventory.admission.admitted import ItemTerms, Piece
from inventory.admission.codes import EffectCode

_BEGIN, _STAGE, _OPEN = (Script(gate.LUA / f"{name}.lua") for name in ("begin_rebuild-3", "stage-1", "open-8"))
_STAGE_TTL_S = 120
_KEYS: Mapping[str, Callable[[int], str]] = {"held": keys.held, "buyers": keys.buyers}


@dataclass(frozen=True, slots=True)
class NewGate:
    """The data that opens a gate. Its ``holds`` and ``buyers`` are counts of what was staged under the same fencing token.

    ``held`` and ``bought``: units in the holds, and units that the buyers hold or have bought.
    """

    terms: ItemTerms
    fence: int
    stock: int
    sold: int
    holds: int = 0
    buyers: int = 0
    held: int = 0
    bought: int = 0


def _staged(kind: str, item: int, fence: int) -> str:
    return f"{_KEYS[kind](item)}:staged:{fence}"


@gate.guarded
def begin(fences: Mapping[int, int]) -> dict[int, bool]:
    """Start the rebuild. From now on admission answers ``paused`` and effects wait.

    Returns:
        Item -> whether it had a complete gate with its stream. Items with a higher fencing token are left out.
    """
    gate.remember(fences)
    calls = [([keys.meta(item), keys.queued(item), keys.admitted(item)], [fence]) for item, fence in fences.items()]
    answers = _BEGIN.each(gate_client(), calls)
    begun = zip(fences, answers, strict=True)
    return {item: code == EffectCode.DONE for item, code in begun if code != EffectCode.FENCED}


@gate.guarded
def stage(fences: Mapping[int, int], pieces: Iterable[Piece]) -> list[int]:
    """Stage chunks of the new gates. Returns the number of holds or buyers in each chunk."""
    calls = [([_staged(piece.kind, piece.item, fences[piece.item])], [piece.pairs, _STAGE_TTL_S]) for piece in pieces]
    return [int(count) for count in _STAGE.each(gate_client(), calls)]


@gate.guarded
def open_gates(gates: Sequence[NewGate]) -> dict[int, EffectCode]:
    """Replace the gates by the staged data, each completely or not at all. Returns the result by item."""
    answers = _OPEN.each(gate_client(), [_open_call(new) for new in gates])
    return {new.terms.item: EffectCode(code) for new, code in zip(gates, answers, strict=True)}


def _open_call(new: NewGate) -> tuple[list[str], list[str | int]]:
    item = new.terms.item
    names = [keys.meta(item), keys.stock(item), keys.held(item), keys.buyers(item)]
    staged = [_staged(kind, item, new.fence) for kind in ("held", "buyers")]
    out = new.terms.allocated - new.stock
    fields = ["version", new.terms.version, "allocated", new.terms.allocated, "sold", new.sold, *gate.fields(new.terms)]
    fields += ["unheld", out - new.sold - new.held, "unbought", out - new.bought]
    return [*names, *staged, keys.queued(item), keys.admitted(item)], [new.fence, new.stock, new.holds, new.buyers, *fields]
