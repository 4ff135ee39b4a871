"""The report of a rehearsal: one row per second, and a graph."""

import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import plotext
from rich.console import Console
from rich.table import Table

_COLOURS = {"offered": "gray", "admitted": "blue", "shed": "orange", "settled": "green", "limited": "orange"}

_FAR = 5  # times the admitted rate: above this the smaller curves need a scale of their own


@dataclass(frozen=True, slots=True)
class Series:
    """Counts per second since the start. ``shed``: by reason. ``fleets``: by fleet and outcome."""

    offered: list[int]
    admitted: list[int]
    shed: dict[str, list[int]]
    settled: list[int]
    fleets: dict[str, dict[str, list[int]]] = field(default_factory=dict)

    @property
    def shed_total(self) -> list[int]:
        """Refusals of all reasons."""
        return [sum(values[second] for values in self.shed.values()) for second in range(len(self.offered))]

    def lines(self) -> dict[str, list[int]]:
        """The four curves of the graph."""
        return {"offered": self.offered, "admitted": self.admitted, "shed": self.shed_total, "settled": self.settled}


def show(series: Series, summary: dict[str, Any], *, has_table: bool) -> None:
    """The terminal's graph and the summary, on one screen.

    Args:
        has_table: add a row for every second.
    """
    console = Console()
    if has_table:
        console.print(_table(series))
        if len(series.fleets) > 1:
            console.print(_fleet_table(series))
    plotext.clear_figure()
    plotext.plot_size(100, 18)
    plotext.theme("clear")
    for name, values in series.lines().items():
        plotext.plot(range(len(values)), values, label=name)
    plotext.title("orders per second")
    sys.stdout.write(f"{plotext.uncolorize(plotext.build())}\n")
    for caption, value in summary.items():
        if isinstance(value, dict) and value:
            console.print(f"{caption}:", highlight=False)
            for name, each in value.items():
                console.print(f"  {name}: {each}", highlight=False)
        else:
            console.print(f"{caption}: {value}", highlight=False)


def _table(series: Series) -> Table:
    reasons = sorted(series.shed)
    table = Table(title="per second")
    for heading in ("second", "offered", "admitted", *(f"shed: {reason}" for reason in reasons), "settled"):
        table.add_column(heading, justify="right")
    for second in range(len(series.offered)):
        shed = [str(series.shed[reason][second]) for reason in reasons]
        row = [str(series.offered[second]), str(series.admitted[second]), *shed, str(series.settled[second])]
        table.add_row(str(second), *row)
    return table


def _fleet_table(series: Series) -> Table:
    table = Table(title="per second, by fleet")
    table.add_column("second", justify="right")
    curves = [(f"{fleet}: {name}", values) for fleet, found in series.fleets.items() for name, values in found.items()]
    for heading, _ in curves:
        table.add_column(heading, justify="right")
    for second in range(len(series.offered)):
        table.add_row(str(second), *(str(values[second]) for _, values in curves))
    return table


def draw(series: Series, path: Path, title: str, *, of_fleets: dict[str, str] | None = None, limit: int | None = None) -> None:
    """The graph as PNG.

    Args:
        of_fleets: titles of fleets' graphs, instead of their names.
        limit: orders per second, drawn over the graphs of the fleets that ``of_fleets`` names.
    """
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    fleets = series.fleets if len(series.fleets) > 1 else {}
    curves = [("all", series.lines()), *fleets.items()]
    figure, plots = pyplot.subplots(len(curves), squeeze=False, sharex=True, figsize=(10, 5 if not fleets else 3 * len(curves)))
    for axes, (name, lines) in zip(plots[:, 0], curves, strict=True):
        for caption, values in lines.items():
            axes.plot(range(len(values)), values, label=caption, color=_COLOURS[caption], drawstyle="steps-post")
        named = (of_fleets or {}).get(name)
        axes.set(title=title if name == "all" else named or f"{name} fleet", ylabel="per second")
        if named and limit:
            axes.axhline(limit, color="black", linewidth=0.8, linestyle=":", label=f"limit {limit}/s")
        if name == "all" and max(series.offered) > _FAR * max(1, *series.admitted, *series.settled):
            axes.set_yscale("symlog", linthresh=10)
        axes.legend()
        axes.grid(alpha=0.3)
    plots[-1, 0].set(xlabel="second")
    figure.tight_layout()
    figure.savefig(path, dpi=120)
    pyplot.close(figure)
