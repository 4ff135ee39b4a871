"""Report the fairness of a sale's waiting room."""

import json
from dataclasses import asdict
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from flashsale.core.errors import FlashsaleError
from orders import fairness


class Command(BaseCommand):
    help = "Compare the order of arrival with the order of call-ups and purchases. 1.0 means first come, first served."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("slug")
        parser.add_argument("--json", action="store_true")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            found = fairness.report(options["slug"])
        except FlashsaleError as error:
            raise CommandError(error.detail) from error
        if not found:
            raise CommandError(f"sale {options['slug']} not found, or it has no items")
        for one in found:
            values = asdict(one)
            self.stdout.write(json.dumps(values) if options["json"] else "  ".join(f"{k} {v}" for k, v in values.items()))
