from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from inventory.models import Sale
from tasks.repair.drift import Drift, drifts, mend


class Command(BaseCommand):
    help = "Report differences between gate and ledger, then rebuild those gates. Safe during a sale."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--sale", default=None)
        parser.add_argument("--dry-run", action="store_true", help="only report differences")
        parser.add_argument(
            "--force", action="store_true", help="also rebuild gates whose differences may be explained by orders in flight"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        if options["sale"] and not Sale.objects.filter(slug=options["sale"]).exists():
            raise CommandError(f"sale {options['sale']} not found")
        for drift in drifts(options["sale"]):
            is_to_mend = drift.is_drift or (options["force"] and drift.differs)
            self.stdout.write(self._line(drift))
            if is_to_mend and not options["dry_run"]:
                mend(drift, "manage.py reconcile")
                self.stdout.write("    rebuilt")

    @staticmethod
    def _line(drift: Drift) -> str:
        gate = "missing" if drift.gate_stock is None else f"{drift.gate_stock}/{drift.gate_held}/{drift.gate_sold}"
        verdict = "differs" if drift.is_drift else "in flight" if drift.differs else "equal"
        return (
            f"item {drift.item} {drift.sku}: gate {gate}, ledger {drift.ledger_stock}/{drift.ledger_held}/{drift.ledger_sold} "
            f"(stock/held/sold), {drift.in_flight} in flight: {verdict}{drift.why and f' - {drift.why}'}"
        )
