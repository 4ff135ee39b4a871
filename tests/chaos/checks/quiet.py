"""Rest: when all is done, nothing is left on the way, and nothing is left behind."""

from collections.abc import Iterator

from tests.chaos.evidence import Evidence
from tests.chaos.rows import Message

_RHYTHM = frozenset(
    {"tasks.sweep", "tasks.sweep_payments", "tasks.forget_gates"}
)  # beat sends these whether there is work or not


def queues_are_empty(evidence: Evidence) -> Iterator[str]:
    """No message waits or is held by a worker, but for beat's own and for cancellations that are not due.

    What a worker held when it died goes back to its queue after the broker's visibility timeout; until then it waits too.
    """
    for message in evidence.books.messages:
        if message.task not in _RHYTHM and not _waits(message, evidence.books.taken_at):
            yield f"{message.task} is in {message.queue}"


def _waits(message: Message, taken_at: float) -> bool:
    is_early = message.task == "tasks.cancel_unpaid" and (message.due_at or 0.0) > taken_at
    return is_early or (message.returns_at or 0.0) > taken_at


def streams_are_empty(evidence: Evidence) -> Iterator[str]:
    """No admitted order waits for the ledger."""
    for gate in evidence.books.gates:
        for order in gate.streamed:
            yield f"order {order} is in the stream of item {gate.item}"
        if gate.pending > len(gate.streamed):
            yield f"item {gate.item}: {gate.pending} claims for {len(gate.streamed)} entries"
        for order in gate.queued:
            if not evidence.waits_for_staff(order):
                yield f"order {order} is shown as queued by item {gate.item}"


def intake_is_empty(evidence: Evidence) -> Iterator[str]:
    """Every order that the ledger decided on is a row."""
    for order in evidence.books.intake:
        if not evidence.is_poison(order.id):  # which cannot be a row
            yield f"order {order.id} of customer {order.customer} is in the intake"


def outbox_is_empty(evidence: Evidence) -> Iterator[str]:
    """The gate has been told everything."""
    for effect in evidence.books.effects:
        yield f"the gate of item {effect.item} has not been told to {effect.kind} order {effect.order}"


def dead_letters_are_explained(evidence: Evidence) -> Iterator[str]:
    """Every open dead letter is of an order that the run made impossible on purpose."""
    for letter in evidence.books.letters:
        if not any(order in letter.args for order in evidence.poison):
            yield f"dead letter {letter.id}: {letter.task} {letter.args[:200]}: {letter.error[:200]}"


def nothing_is_left_locked(evidence: Evidence) -> Iterator[str]:
    """No lock, no half-built gate."""
    yield from (f"{key} was left behind" for key in evidence.books.leftovers)
    yield from (f"the gate of item {gate.item} is still being rebuilt" for gate in evidence.books.gates if gate.is_rebuilding)


def short_lived_keys_expire(evidence: Evidence) -> Iterator[str]:
    """Tokens, receipts, wake-up marks and what was staged for a gate that died meanwhile go by themselves."""
    yield from (f"{key} never expires" for key in evidence.books.immortals)


def the_audit_agrees(evidence: Evidence) -> Iterator[str]:
    """The product's own audit finds nothing either, but for orders that wait in the dead letters."""
    for breach in evidence.books.audit:
        if not any(order in breach and evidence.waits_for_staff(order) for order in evidence.poison):
            yield breach
