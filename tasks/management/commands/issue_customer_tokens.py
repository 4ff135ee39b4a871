from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from flashsale.edge import customers


class Command(BaseCommand):
    help = "N customers and a JWT for each, one a line: username<TAB>jwt."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--count", type=int, required=True)
        parser.add_argument("--prefix", default="buyer-")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["count"] < 1:
            raise CommandError("--count must be at least 1")
        for name, token in customers.issue(options["prefix"], options["count"]):
            self.stdout.write(f"{name}\t{token}")
