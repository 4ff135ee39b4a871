"""The list of violations, filled by its neighbours."""

from collections.abc import Callable

from tests.chaos.clean_sale import CleanSale

VIOLATIONS: list[tuple[Callable[[CleanSale], object], frozenset[str]]] = []


def breaks(*promises: str) -> Callable[[Callable[[CleanSale], object]], Callable[[CleanSale], object]]:
    """The promises that a sale breaks once this was done to it, and no others."""

    def register(violation: Callable[[CleanSale], object]) -> Callable[[CleanSale], object]:
        VIOLATIONS.append((violation, frozenset(promises)))
        return violation

    return register
