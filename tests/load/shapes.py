"""`make shapes`: draws what each algorithm does to each load, from real processes on a real server."""

import os
from pathlib import Path

os.environ["DJANGO_SETTINGS_MODULE"] = "flashsale.settings.test"
import django

django.setup()

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt

from tests.load.shape_crowd import outcomes
from tests.load.tps_shapes import ALGORITHMS, SHAPES, per_bin

TARGET = Path(__file__).parent.parent.parent / "docs" / "results"
_BIN_US = 100_000
# Requests are offered, queued and refused when they come, and pass when they leave.
_LINES = (
    ("offered", {"color": "0.6", "linewidth": 1.0}),
    ("refused", {"color": "tab:red", "linewidth": 1.0}),
    ("passed", {"color": "tab:green", "linewidth": 2.4}),
    ("queued", {"color": "tab:orange", "linewidth": 1.2, "linestyle": (0, (4, 2))}),
)
_TERMS = {"token bucket": "100/s, burst 50", "leaky bucket": "100/s, longest wait 0.5 s", "sliding log": "100 in any second"}


def main() -> None:
    found = outcomes()
    for name in ALGORITHMS:
        figure, axes = plt.subplots(1, len(SHAPES), figsize=(15, 4), sharey=True)
        for axis, shape in zip(axes, SHAPES, strict=True):
            outcome = found[shape.name, name]
            bins = (len(shape.per_second) + 1) * 10
            times = [index / 10 for index in range(bins)]
            for line, style in _LINES:
                rates = [10 * count for count in per_bin(getattr(outcome, line), bins, _BIN_US)]
                axis.step(times, rates, where="post", label=line, **style)
            axis.axhline(100, color="black", linewidth=0.6, linestyle=":")
            passed = per_bin(outcome.passed, len(shape.per_second))
            axis.set(title=f"{shape.name}\npassed: {', '.join(map(str, passed))}", xlabel="s")
            print(f"{name:13} {shape.name:34} passed per second {passed}")
        axes[0].set_ylabel("requests/s, per 0.1 s")
        axes[0].legend(fontsize=8)
        figure.suptitle(f"{name}: {_TERMS[name]}; real processes, by the server's clock")
        figure.tight_layout()
        figure.savefig(TARGET / f"shape-{name.replace(' ', '-')}.png", dpi=80)


if __name__ == "__main__":
    main()
