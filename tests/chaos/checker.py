"""Compares what the clients saw with what the books hold. Pure: the same history and books give the same verdict."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from tests.chaos.checks import answers, lives, losses, money, poison, quiet, stock
from tests.chaos.evidence import Evidence
from tests.chaos.history import History
from tests.chaos.rows import Books

Outcome = Literal["passed", "failed", "unknown"]
Promise = Callable[[Evidence], Iterator[str]]

PROMISES: tuple[Promise, ...] = (
    lives.acknowledged_orders_are_kept,
    lives.every_order_ends,
    lives.every_order_was_attempted,
    lives.refused_orders_leave_nothing,
    lives.one_order_per_source_and_seq,
    lives.one_order_per_token,
    lives.only_legal_transitions,
    lives.no_order_is_cancelled_early,
    lives.customers_have_their_word,
    lives.ends_come_in_time,
    losses.only_a_lost_disk_loses_orders,
    losses.lost_orders_have_an_end,
    poison.poisoned_orders_have_an_end,
    poison.poisoned_orders_are_told_of,
    poison.dead_letters_hold_one_order,
    stock.nothing_is_oversold,
    stock.nobody_is_over_the_limit,
    stock.ledger_adds_up,
    stock.movements_are_those_of_the_orders,
    stock.gate_adds_up,
    stock.gate_equals_ledger,
    money.one_capture_per_order,
    money.paid_orders_have_their_money,
    money.late_money_is_refunded,
    money.every_cent_is_right,
    money.provider_and_shop_agree,
    money.nobody_is_charged_unasked,
    answers.same_request_same_answer,
    answers.other_requests_are_refused,
    answers.reads_never_go_backwards,
    answers.reads_agree_with_the_books,
    answers.acknowledged_orders_can_be_read,
    quiet.queues_are_empty,
    quiet.streams_are_empty,
    quiet.intake_is_empty,
    quiet.outbox_is_empty,
    quiet.dead_letters_are_explained,
    quiet.nothing_is_left_locked,
    quiet.short_lived_keys_expire,
    quiet.the_audit_agrees,
)


@dataclass(frozen=True, slots=True)
class Check:
    """One promise, and a sentence for every time it was broken."""

    name: str
    promise: str
    breaches: list[str]


@dataclass(frozen=True, slots=True)
class Verdict:
    """``acknowledged``: orders that a client was told of; ``unknown``: operations without a final answer."""

    checks: list[Check]
    acknowledged: int
    operations: int
    unknown: int

    @property
    def outcome(self) -> Outcome:
        """failed: a promise is broken. unknown: none is, and none was put to the test."""
        if any(check.breaches for check in self.checks):
            return "failed"
        return "passed" if self.acknowledged else "unknown"

    @property
    def broken(self) -> frozenset[str]:
        """The names of the checks that found something."""
        return frozenset(check.name for check in self.checks if check.breaches)

    def summary(self, most: int = 5) -> str:
        """The outcome, and the first breaches of every broken promise."""
        lines = [
            f"{self.outcome}: {self.acknowledged} orders acknowledged, {self.operations} operations, "
            f"{self.unknown} of them unknown, {len(self.checks)} checks, {len(self.broken)} broken"
        ]
        for check in self.checks:
            if check.breaches:
                lines.append(f"{check.name} ({len(check.breaches)}): {check.promise}")
                lines += [f"  {breach}" for breach in check.breaches[:most]]
        return "\n".join(lines)


def check(history: History, books: Books) -> Verdict:
    """Put every promise to the test."""
    evidence = Evidence(history, books)
    checks = [
        Check(promise.__name__, " ".join((promise.__doc__ or "").split()), list(promise(evidence))) for promise in PROMISES
    ]
    return Verdict(
        checks=checks,
        acknowledged=len(evidence.acknowledged),
        operations=len(history.operations),
        unknown=sum(operation.result == "unknown" for operation in history.operations),
    )
