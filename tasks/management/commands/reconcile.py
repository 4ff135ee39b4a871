from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from inventory.models import Sale
from tasks import gate_sync


class Command(BaseCommand):
    help = "Rebuild the gate from the ledger where they differ."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--sale", default=None)
        parser.add_argument("--dry-run", action="store_true", help="only say what differs")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["sale"] and not Sale.objects.filter(slug=options["sale"]).exists():
            raise CommandError(f"there is no sale {options['sale']}")
        for drift in gate_sync.reconcile(options["sale"], dry_run=options["dry_run"]):
            verdict = "equal" if not drift.is_drift else "differs" if options["dry_run"] else "rebuilt"
            self.stdout.write(
                f"item {drift.item} {drift.sku}: gate {drift.gate_stock}/{drift.gate_held}/{drift.gate_sold}, "
                f"ledger {drift.ledger_stock}/{drift.ledger_held}/{drift.ledger_sold} (stock/held/sold), "
                f"{drift.in_flight} in flight: {verdict}"
            )
