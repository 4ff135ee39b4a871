"""What the model's parts hand to each other."""

from typing import NamedTuple


class Unavailable(Exception):
    """A call failed; whether it had its effect is not known."""


class Admitted(NamedTuple):
    """An order as the gate wrote it into the stream."""

    id: int
    customer: int
    units: int
    seq: str
    digest: str
    method: str
    life: int


class Terms(NamedTuple):
    version: int
    allocated: int
    life: int


class View(NamedTuple):
    """What a gate should hold, by the stream and the ledger."""

    terms: Terms
    stock: int
    sold: int
    held: dict[int, tuple[int, int]]
    buyers: dict[int, int]
    at: float


class Answer(NamedTuple):
    """What the provider says of a payment; ``payment`` is (order, how many payments it had before)."""

    payment: tuple[int, int]
    status: str


class Clock:
    """Seconds, moved by the scheduler alone; ``ticks`` tells the calls of one moment apart."""

    def __init__(self) -> None:
        self.now = 1_000.0
        self.ticks = 0

    @property
    def now_us(self) -> int:
        return int(self.now * 1_000_000) + self.ticks
