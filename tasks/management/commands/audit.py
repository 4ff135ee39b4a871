import json
import sys
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from inventory.models import Sale
from tasks.repair.audit import audit


class Command(BaseCommand):
    help = "Check every invariant on the data in PostgreSQL and Redis. Exits with 1 if one is violated."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--sale", default=None)
        parser.add_argument("--json", action="store_true")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["sale"] and not Sale.objects.filter(slug=options["sale"]).exists():
            raise CommandError(f"sale {options['sale']} not found")
        report = audit(options["sale"])
        if options["json"]:
            self.stdout.write(json.dumps(report.as_json(), indent=2))
        else:
            for check in report.checks:
                self.stdout.write(f"{'BREACH' if check.breaches else 'ok    '}  {check.name}")
                for breach in check.breaches[:20]:
                    self.stdout.write(f"        {breach}")
            self.stdout.write(f"{report.items} items, {report.orders} orders, {report.in_flight} in flight")
        if not report.is_clean:
            sys.exit(1)
