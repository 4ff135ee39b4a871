"""Ways in which a tale can be wrong, each with the promises that it breaks; in the same files as the checks."""

from tests.chaos.wrongs import answers, lives, losses, money, poison, quiet, stock
from tests.chaos.wrongs.register import WRONGS

__all__ = ["WRONGS", "answers", "lives", "losses", "money", "poison", "quiet", "stock"]
