"""What a rehearsal shows: one row per second, and the graph of it."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import plotext
from rich.console import Console
from rich.table import Table

_COLOURS = {"offered": "gray", "admitted": "blue", "shed": "orange", "settled": "green"}


@dataclass(frozen=True, slots=True)
class Series:
    """Per second since the start; ``shed`` by reason."""

    offered: list[int]
    admitted: list[int]
    shed: dict[str, list[int]]
    settled: list[int]

    @property
    def shed_total(self) -> list[int]:
        """All reasons together."""
        return [sum(values[second] for values in self.shed.values()) for second in range(len(self.offered))]

    def lines(self) -> dict[str, list[int]]:
        """The four curves of the graph."""
        return {"offered": self.offered, "admitted": self.admitted, "shed": self.shed_total, "settled": self.settled}


def show(series: Series, summary: dict[str, Any]) -> None:
    """The table, the terminal's graph, the summary."""
    console = Console()
    reasons = sorted(series.shed)
    table = Table(title="per second")
    for heading in ("second", "offered", "admitted", *(f"shed: {reason}" for reason in reasons), "settled"):
        table.add_column(heading, justify="right")
    for second in range(len(series.offered)):
        shed = [str(series.shed[reason][second]) for reason in reasons]
        row = [str(series.offered[second]), str(series.admitted[second]), *shed, str(series.settled[second])]
        table.add_row(str(second), *row)
    console.print(table)
    plotext.clear_figure()
    plotext.plot_size(100, 22)
    plotext.theme("clear")
    for name, values in series.lines().items():
        plotext.plot(range(len(values)), values, label=name)
    plotext.title("orders per second")
    sys.stdout.write(f"{plotext.uncolorize(plotext.build())}\n")
    for caption, value in summary.items():
        console.print(f"{caption}: {value}", highlight=False)


def draw(series: Series, path: Path, title: str) -> None:
    """The graph as PNG."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(10, 5))
    for name, values in series.lines().items():
        axes.plot(range(len(values)), values, label=name, color=_COLOURS[name], drawstyle="steps-post")
    axes.set(title=title, xlabel="second", ylabel="per second")
    axes.set_yscale("symlog", linthresh=10)
    axes.legend()
    axes.grid(alpha=0.3)
    figure.savefig(path, dpi=120)
    pyplot.close(figure)
