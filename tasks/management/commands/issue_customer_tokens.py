import re
from argparse import ArgumentParser
from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from flashsale.loadtest import customers

PREFIX = re.compile(r"[\w@+.-]{0,100}")  # characters allowed in a user name; leaves room for the number
MOST = 10_000_000

_LONGEST_MINUTES = 24 * 60


class Command(BaseCommand):
    help = "Create N customers and print a JWT for each, one per line: username<TAB>jwt."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--count", type=int, required=True)
        parser.add_argument("--prefix", default="buyer-")
        parser.add_argument(
            "--minutes", type=int, default=15, help="lifetime of the tokens in minutes, up to a day; default: 15"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        if not 1 <= options["count"] <= MOST:
            raise CommandError(f"--count must be at least 1 and at most {MOST}, not {options['count']}")
        if not PREFIX.fullmatch(options["prefix"]):
            raise CommandError("--prefix must be up to 100 letters, digits and _ @ + . -")
        if not 1 <= options["minutes"] <= _LONGEST_MINUTES:
            raise CommandError(f"--minutes must be from 1 to {_LONGEST_MINUTES}")
        lifetime = timedelta(minutes=options["minutes"])
        for name, token in customers.issue(options["prefix"], options["count"], lifetime=lifetime):
            self.stdout.write(f"{name}\t{token}")
