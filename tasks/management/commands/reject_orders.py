from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from flashsale.core.errors import FlashsaleError
from tasks.models import DeadLetter
from tasks.repair import poison
from tasks.steps import gate_effects


class Command(BaseCommand):
    help = 'Reject the orders of dead letters and close the letters. May run twice. See "Dead letters" in the runbook.'

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("letters", nargs="+", type=int, help="ids of open dead letters")

    def handle(self, *args: Any, **options: Any) -> None:
        letters = DeadLetter.objects.in_bulk(options["letters"])
        unknown = sorted(set(options["letters"]) - letters.keys())
        if unknown:
            raise CommandError(f"dead letter {unknown[0]} not found")
        refused = [str(letter) for letter in letters.values() if not self._is_done(letter)]
        gate_effects.apply()
        if refused:
            raise CommandError(f"still open: {', '.join(refused)}")

    def _is_done(self, letter: DeadLetter) -> bool:
        try:
            rejected = poison.reject(letter, "manage.py reject_orders")
        except FlashsaleError as error:
            self.stdout.write(f"{letter}: {error.detail}")
            return False
        self.stdout.write(f"{letter}: rejected {', '.join(map(str, rejected)) or 'nothing'}")
        return True
