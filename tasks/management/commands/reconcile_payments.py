from argparse import ArgumentParser, ArgumentTypeError
from datetime import UTC, datetime
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from flashsale.core.errors import FlashsaleError
from tasks.reconcile_payments import reconcile_payments


def _moment(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise ArgumentTypeError(f"{text!r} is no date or time like 2026-11-25 or 2026-11-25T18:00+01:00") from error
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


class Command(BaseCommand):
    help = "Compare the payment provider's captures with our payments; record those that we have missed. Safe during a sale."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--since", type=_moment, required=True, help="date or time; UTC unless it says otherwise")
        parser.add_argument("--dry-run", action="store_true", help="only report differences")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            found = reconcile_payments(options["since"], dry_run=options["dry_run"])
        except FlashsaleError as error:
            raise CommandError(str(error) or type(error).__doc__) from error
        for each in found:
            self.stdout.write(
                f"{each.kind.name.lower()}: {each.key or 'no key'} {each.ref}: {each.kind} {each.detail}".rstrip()
            )
        self.stdout.write(f"{len(found)} differences")
        if any(each.kind.name != "NOT_RECORDED" or options["dry_run"] for each in found):
            raise CommandError("a person has to look at these differences")
