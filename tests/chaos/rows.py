"""What the books hold when a run is over, as plain values: rows, no view of anybody's.

Ids are text, times are seconds since the epoch, money is Decimal.
"""

from dataclasses import dataclass, field
from decimal import Decimal


@dataclass(slots=True)
class Item:
    """An item of the run's sales, with its stock columns."""

    id: int
    sku: str
    price: Decimal
    currency: str
    per_customer: int
    allocated: int
    available: int
    reserved: int
    sold: int


@dataclass(frozen=True, slots=True)
class Terms:
    """What an item costs and how many one customer may have, under one version."""

    price: Decimal
    currency: str
    per_customer: int


@dataclass(slots=True)
class Movement:
    """A line of the ledger; ``order`` None for what staff did."""

    item: int
    kind: str
    units: int
    order: str | None


@dataclass(slots=True)
class Order:
    """An order's row; ``terms`` and ``limit``: the versions that its price and its limit per customer are of."""

    id: str
    item: int
    customer: int
    sku: str
    units: int
    price: Decimal
    currency: str
    source: str
    seq: str
    digest: str
    method: str
    status: str
    reason: str
    expires_at: float
    terms: int | None = None
    limit: int | None = None

    @property
    def total(self) -> Decimal:
        """What it costs."""
        return self.price * self.units


@dataclass(slots=True)
class Intake:
    """An order between stream and row; ``reason`` says why it has no units."""

    id: str
    item: int
    customer: int
    sku: str
    units: int
    price: Decimal
    currency: str
    source: str
    seq: str
    digest: str
    method: str
    reason: str


@dataclass(slots=True)
class Event:
    """A line of an order's history; lines come in the order in which they were written."""

    order: str
    status: str
    at: float


@dataclass(slots=True)
class Effect:
    """What the gate has still to be told."""

    order: str
    item: int
    kind: str


@dataclass(slots=True)
class Payment:
    """A payment as the shop has it."""

    id: str
    order: str
    amount: Decimal
    currency: str
    method: str
    origin: str
    key: str
    status: str
    applied: bool


@dataclass(slots=True)
class Refund:
    """A refund as the shop has it."""

    payment: str
    amount: Decimal
    status: str


@dataclass(slots=True)
class Charge:
    """A charge in the provider's own books."""

    ref: str
    key: str
    amount: Decimal
    currency: str
    method: str
    outcome: str


@dataclass(slots=True)
class ChargeRefund:
    """A refund in the provider's own books; ``key`` is its charge's."""

    key: str
    amount: Decimal


@dataclass(slots=True)
class Letter:
    """An open dead letter."""

    id: int
    task: str
    args: str
    error: str


@dataclass(slots=True)
class Gate:
    """An item's keys in Redis. ``held``: order -> customer and units; ``buyers``: customer -> units held or bought."""

    item: int
    is_open: bool = True
    is_rebuilding: bool = False
    allocated: int = 0
    stock: int = 0
    sold: int = 0
    held: dict[str, tuple[int, int]] = field(default_factory=dict)
    buyers: dict[int, int] = field(default_factory=dict)
    streamed: list[str] = field(default_factory=list)
    pending: int = 0
    queued: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Message:
    """A message in the broker; ``queue`` is ``unacked`` for one that a worker holds, or held until it died.

    ``returns_at``: when an unacked one goes back to its queue, in seconds since the epoch.
    """

    queue: str
    task: str
    due_at: float | None = None
    returns_at: float | None = None


@dataclass(frozen=True, slots=True)
class Loss:
    """A gate died ``at`` and its disk was lost; ``waiting``: the orders that stood in its streams."""

    at: float
    waiting: frozenset[str]


@dataclass(slots=True)
class Books:
    """Everything, at one quiet moment. ``terms``: by item and version.

    What only the run knows: ``healed_at``, when its last fault ended; ``settled_at``, when it saw the last order end;
    ``losses``, the gate's disks that it took; ``gone``, the customers whose account it
    deleted before they ordered; ``poison``, orders that it made impossible in other ways.
    """

    taken_at: float
    items: list[Item] = field(default_factory=list)
    movements: list[Movement] = field(default_factory=list)
    orders: list[Order] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    intake: list[Intake] = field(default_factory=list)
    effects: list[Effect] = field(default_factory=list)
    payments: list[Payment] = field(default_factory=list)
    refunds: list[Refund] = field(default_factory=list)
    charges: list[Charge] = field(default_factory=list)
    charge_refunds: list[ChargeRefund] = field(default_factory=list)
    letters: list[Letter] = field(default_factory=list)
    gates: list[Gate] = field(default_factory=list)
    messages: list[Message] = field(default_factory=list)
    leftovers: list[str] = field(default_factory=list)
    immortals: list[str] = field(default_factory=list)
    audit: list[str] = field(default_factory=list)
    healed_at: float | None = None
    settled_at: float | None = None
    gone: frozenset[int] = frozenset()
    losses: list[Loss] = field(default_factory=list)
    poison: frozenset[str] = frozenset()
    terms: dict[tuple[int, int], Terms] = field(default_factory=dict)
