"""The list of wrongs, filled by its neighbours."""

from collections.abc import Callable

from tests.chaos.tale import Tale

WRONGS: list[tuple[Callable[[Tale], object], frozenset[str]]] = []


def breaks(*promises: str) -> Callable[[Callable[[Tale], object]], Callable[[Tale], object]]:
    """The promises that a tale breaks once this was done to it, and no others."""

    def register(wrong: Callable[[Tale], object]) -> Callable[[Tale], object]:
        WRONGS.append((wrong, frozenset(promises)))
        return wrong

    return register
