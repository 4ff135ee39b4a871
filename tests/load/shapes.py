"""`make shapes`: draws what each algorithm does to each load, from real processes on a real server."""

import os
from pathlib import Path

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "flashsale.settings.test")
import django

django.setup()

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt

from flashsale.rehearsal.shapes import ALGORITHMS, SHAPES, per_bin
from tests.load.shape_crowd import outcomes

TARGET = Path(__file__).parent.parent.parent / "docs" / "results"
_BIN_US = 100_000
_LINES = (("offered", "0.7", 1.0), ("passed", "tab:green", 2.0), ("queued", "tab:orange", 1.2), ("refused", "tab:red", 1.0))


def main() -> None:
    found = outcomes()
    for name in ALGORITHMS:
        figure, axes = plt.subplots(1, len(SHAPES), figsize=(15, 3.6), sharey=True)
        for axis, shape in zip(axes, SHAPES, strict=True):
            outcome = found[shape.name, name]
            bins = (len(shape.per_second) + 1) * 10
            times = [index / 10 for index in range(bins)]
            for line, colour, width in _LINES:
                rates = [10 * count for count in per_bin(getattr(outcome, line), bins, _BIN_US)]
                axis.step(times, rates, where="post", label=line, color=colour, linewidth=width)
            axis.axhline(100, color="black", linewidth=0.6, linestyle=":")
            axis.set(title=shape.name, xlabel="s")
            print(f"{name:13} {shape.name:34} passed per second {per_bin(outcome.passed, len(shape.per_second))}")
        axes[0].set_ylabel("requests/s, per 0.1 s")
        axes[0].legend(fontsize=8)
        figure.suptitle(f"{name}: 100/s, burst 50, longest wait 0.5 s")
        figure.tight_layout()
        figure.savefig(TARGET / f"shape-{name.replace(' ', '-')}.png", dpi=80)


if __name__ == "__main__":
    main()
