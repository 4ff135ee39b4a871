"""What the clients saw: every operation, written down before it is sent and again when it ends.

A request without a final answer is ``unknown``, never failed: it may have happened, and it may still happen.
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

Kind = Literal["token", "order", "pay", "cancel", "read"]
Result = Literal["ok", "refused", "unknown"]

# A 5xx says nothing of what happened; these say that nothing did.
_REFUSING_CODES = frozenset({"busy"})


@dataclass(slots=True)
class Operation:
    """One call of one client.

    ``request``: the body, and for pay, cancel and read the ``order`` it names. ``invoked_at``, ``completed_at``: seconds
    since the epoch, the second None while no answer has come. ``answer``: the JSON body, None without one.
    """

    number: int
    kind: Kind
    customer: int
    request: dict[str, Any]
    invoked_at: float
    completed_at: float | None = None
    result: Result = "unknown"
    status: int | None = None
    answer: dict[str, Any] | None = None
    replayed: bool = False

    @property
    def order_id(self) -> str | None:
        """The order that the answer, or else the request, names."""
        answered = (self.answer or {}).get("id") if self.result == "ok" and self.kind != "token" else None
        return answered or self.request.get("order")

    def complete(self, at: float, status: int | None, answer: Any, *, replayed: bool = False) -> None:
        """Note the end; ``status`` None when no answer came."""
        self.completed_at, self.status, self.replayed = at, status, replayed
        self.answer = answer if isinstance(answer, dict) else None
        self.result = result_of(status, self.answer)


def result_of(status: int | None, answer: dict[str, Any] | None) -> Result:
    """ok: it happened; refused: it did not; unknown: nobody told."""
    if status is None or (status >= 500 and (answer or {}).get("code") not in _REFUSING_CODES):
        return "unknown"
    return "ok" if status < 400 else "refused"


@dataclass(slots=True)
class History:
    """All operations of a run."""

    operations: list[Operation] = field(default_factory=list)

    def begin(self, kind: Kind, customer: int, request: dict[str, Any], at: float) -> Operation:
        """A new operation, unknown until it is completed."""
        operation = Operation(len(self.operations), kind, customer, request, at)
        self.operations.append(operation)
        return operation

    def of(self, *kinds: Kind) -> Iterator[Operation]:
        """The operations of these kinds, in the order in which they were invoked."""
        return (operation for operation in self.operations if operation.kind in kinds)

    def save(self, path: Path) -> None:
        """One JSON line each."""
        path.write_text("".join(f"{json.dumps(asdict(operation))}\n" for operation in self.operations), encoding="utf-8")

    @classmethod
    def load(cls, lines: Iterable[str]) -> "History":
        """The inverse of :meth:`save`."""
        return cls([Operation(**json.loads(line)) for line in lines])
