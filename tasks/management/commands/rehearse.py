import json
import sys
import time
from argparse import ArgumentParser
from collections import Counter
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from rich.progress import Progress

from flashsale.core.clock import now
from flashsale.gateway.canary import Setting
from flashsale.loadtest import crowd, customers, report
from flashsale.loadtest.buyers import Plan
from flashsale.loadtest.canary_trial import NoGateway, canary_trial
from flashsale.loadtest.sign_ins import Password, passwords
from flashsale.loadtest.sign_ins import summary as summary_of_sign_ins
from flashsale.loadtest.tally import Tally
from inventory import selectors, services
from orders.models import OrderEvent
from tasks.repair import gate_sync
from tasks.repair.audit import Report, audit, statuses
from tasks.repair.drift import in_flight

_SKU = "rehearsal"
_PAYMENT_WINDOW = timedelta(seconds=5)
_DRAIN_S = 90.0
_TOKENS_LAST = timedelta(hours=2)  # longer than any rehearsal


class Command(BaseCommand):
    help = "Run a sale with simulated buyers over real HTTP, wait until the queues are empty, audit, and plot the TPS graph."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--units", type=int, default=500)
        parser.add_argument("--buyers", type=int, default=2000)
        parser.add_argument("--rate", type=float, default=None, help="arrivals per second; default: buyers / seconds")
        parser.add_argument("--seconds", type=float, default=10)
        parser.add_argument(
            "--sign-in", type=int, default=0, metavar="N", help="N of the buyers sign in with name and password"
        )
        parser.add_argument("--url", default=settings.WEB_URL)
        parser.add_argument("--table", action="store_true", help="print a row for every second")
        parser.add_argument("--json", type=Path, default=None)
        parser.add_argument("--plot", type=Path, default=None)
        parser.add_argument(
            "--canary",
            type=int,
            default=None,
            metavar="PERCENT",
            help="send PERCENT of the customers to the canary fleet during this rehearsal",
        )
        parser.add_argument("--canary-rate", type=int, default=None, help="orders per second that the canary fleet admits")

    def handle(self, *args: Any, **options: Any) -> None:
        if min(options["units"], options["buyers"], options["seconds"]) <= 0 or (
            options["rate"] is not None and options["rate"] <= 0
        ):
            raise CommandError("--units, --buyers, --seconds and --rate must be positive")
        if not 0 <= options["sign_in"] <= options["buyers"]:
            raise CommandError("--sign-in must be from 0 to --buyers")
        for name in ("json", "plot"):
            if options[name] and not options[name].absolute().parent.is_dir():
                raise CommandError(f"--{name}: directory {options[name].parent} does not exist")
        if options["canary"] is None:
            if options["canary_rate"] is not None:
                raise CommandError("--canary-rate requires --canary")
            self._rehearse(options)
            return
        if not 1 <= options["canary"] <= 100 or (options["canary_rate"] is not None and options["canary_rate"] <= 0):
            raise CommandError("--canary must be from 1 to 100, and --canary-rate must be positive")
        try:
            with canary_trial(Setting(options["canary"]), options["canary_rate"]):
                self._rehearse(options)
        except NoGateway as error:
            raise CommandError(str(error)) from error

    def _rehearse(self, options: dict[str, Any]) -> None:
        slug = f"rehearsal-{int(time.time())}"
        self._create(slug, options["units"])
        rate = options["rate"] or options["buyers"] / options["seconds"]
        with Progress(transient=True) as progress:
            making = progress.add_task("customers", total=options["buyers"])
            signing_in = passwords(options["sign_in"])
            buyers: list[str | Password] = []
            for _, jwt in customers.issue("rehearsal-", options["buyers"] - len(signing_in), lifetime=_TOKENS_LAST):
                buyers.append(jwt)
                progress.advance(making)
            buyers = _spread(buyers, signing_in)
            buying = progress.add_task(f"buyers, {rate:.0f}/s", total=options["buyers"])
            start = crowd.soon()
            began = now() + timedelta(seconds=start - time.monotonic())
            plan = Plan(options["url"], slug, _SKU, rate, start)
            tally = crowd.run(plan, buyers, lambda done: progress.advance(buying, done))
            draining = progress.add_task("drain", total=None)
            drained_s = self._drain(slug)
            progress.remove_task(draining)
        verdict = audit(slug)
        problems = self._problems(slug, tally, verdict, drained_s, options["units"])
        series = _series(slug, tally, began)
        summary = _summary(slug, tally, drained_s, problems)
        if signing_in:
            signed_in = (tally.sign_ins_ms, dict(tally.sign_ins_refused), tally.sign_ins_given_up)
            summary["sign-ins"] = summary_of_sign_ins(*signed_in)
        report.show(series, summary, has_table=options["table"])
        if options["json"]:
            details = summary | {
                "series": series.lines(),
                "shed": series.shed,
                "fleets": series.fleets,
                "audit": verdict.as_json(),
            }
            options["json"].write_text(json.dumps(details, indent=2, default=str), encoding="utf-8")
        if options["plot"]:
            title = f"{options['buyers']} buyers, {options['units']} units"
            report.draw(series, options["plot"], title, of_fleets=_captions(options), limit=options["canary_rate"])
        if problems:
            sys.exit(1)

    def _create(self, slug: str, units: int) -> None:
        sale = services.create_sale(
            slug=slug,
            name="A rehearsal",
            opens_at=now() - timedelta(seconds=1),
            closes_at=now() + timedelta(hours=1),
            payment_window=_PAYMENT_WINDOW,
        )
        item = services.add_item(sale=sale, sku=_SKU, name="Rehearsal item", units=units, price=Decimal("49.00"))
        gate_sync.refresh_gates([item.pk])

    def _drain(self, slug: str) -> float | None:
        """Seconds until every order is in an end state and the gate is up to date. None if that does not happen in time."""
        began, items = time.monotonic(), selectors.items_of_sale(slug)
        while time.monotonic() - began < _DRAIN_S:
            left = statuses(slug)
            if not left["reserved"] and not left["pending_payment"] and not in_flight(items):
                return time.monotonic() - began
            time.sleep(0.2)
        return None

    def _problems(self, slug: str, tally: Tally, verdict: Report, drained_s: float | None, units: int) -> list[str]:
        problems = [f"{check.name}: {breach}" for check in verdict.checks for breach in check.breaches]
        if drained_s is None:
            problems.append(f"not drained within {_DRAIN_S:.0f} s")
        if tally.server_errors:
            problems.append(f"server errors: {dict(tally.server_errors)}")
        if "no_answer" in tally.shed:
            problems.append(f"{tally.shed['no_answer'].total()} buyers got no answer")
        counts = statuses(slug)
        if counts.total() != len(set(tally.orders)):
            problems.append(f"{len(set(tally.orders))} orders were promised, {counts.total()} exist")
        if counts["paid"] > units:
            problems.append(f"{counts['paid']} units sold of {units}")
        return problems


def _spread(buyers: list[str | Password], more: list[Password]) -> list[str | Password]:
    """Distribute the buyers who sign in evenly among the others."""
    found = list(buyers)
    for number, each in enumerate(more):
        found.insert(round((number + 0.5) * (len(buyers) + len(more)) / len(more)), each)
    return found


def _captions(options: dict[str, Any]) -> dict[str, str]:
    if options["canary"] is None:
        return {}
    return {"canary": f"canary fleet: {options['canary']} % of the customers"}


def _series(slug: str, tally: Tally, began: datetime) -> report.Series:
    events = OrderEvent.objects.filter(order__item__sale__slug=slug, status__in=["paid", "cancelled", "rejected"])
    settled = Counter(max(0, int((at - began).total_seconds())) for at in events.values_list("at", flat=True))
    of_fleets = [+curve for fleet in tally.fleets.values() for curve in (fleet.offered, fleet.admitted, fleet.limited)]
    curves = [tally.offered, tally.admitted, settled, *tally.shed.values(), *of_fleets]
    length = 1 + max((max(curve) for curve in curves if curve), default=0)

    def per_second(counts: Counter[int]) -> list[int]:
        return [counts[second] for second in range(length)]

    return report.Series(
        per_second(tally.offered),
        per_second(tally.admitted),
        {reason: per_second(counts) for reason, counts in tally.shed.items()},
        per_second(settled),
        {
            fleet: {
                "offered": per_second(found.offered),
                "admitted": per_second(found.admitted),
                "limited": per_second(found.limited),
            }
            for fleet, found in sorted(tally.fleets.items(), key=lambda fleet: (fleet[0] != "main", fleet[0]))
        },
    )


def _summary(slug: str, tally: Tally, drained_s: float | None, problems: list[str]) -> dict[str, Any]:
    sent = sum(map(len, tally.latencies_ms.values()))
    return {
        "sale": slug,
        "buyers": tally.offered.total(),
        "requests": sent,
        "orders": dict(statuses(slug)),
        "refused": {reason: counts.total() for reason, counts in tally.shed.items()},
        "latency ms p50 / p95 / p99 / max": {kind: _latencies(found) for kind, found in sorted(tally.latencies_ms.items())},
        "buyers sent late by at most, ms": round(tally.late_ms),
        "buyers' CPU per request, us": round(1e6 * tally.cpu_s / max(1, sent)),
        "drained after, s": None if drained_s is None else round(drained_s, 1),
        "verdict": problems or "clean",
    }


def _latencies(found_ms: list[float]) -> str:
    ordered = sorted(found_ms)
    ranks = (0.5, 0.95, 0.99, 1.0)
    return " / ".join(f"{ordered[min(len(ordered) - 1, int(len(ordered) * rank))]:.0f}" for rank in ranks)
