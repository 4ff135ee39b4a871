"""Ways in which a sale can be wrong, each with the promises that it breaks; in the same files as the checks."""

from tests.chaos.violations import answers, lives, losses, money, poison, quiet, stock
from tests.chaos.violations.register import VIOLATIONS

__all__ = ["VIOLATIONS", "answers", "lives", "losses", "money", "poison", "quiet", "stock"]
