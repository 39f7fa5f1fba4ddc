"""The table as a picture: how far each ratio is from 1, and where it should be."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib as mpl

from bench.figure import Figure, Target, is_rate
from bench.report import rounded

mpl.use("svg")
mpl.rcParams["svg.hashsalt"] = "millpond"  # so that the same figures give the same file
mpl.rcParams["svg.fonttype"] = "none"  # text stays text: smaller, and can be searched

from matplotlib import pyplot as plt  # noqa: E402 -- after its backend is chosen
from matplotlib.patches import Patch  # noqa: E402

LOOKS = {True: ("#2f7d5b", "target met"), False: ("#b4472f", "missed"), None: ("#8a94a0", "no target")}
ROW_INCHES = 0.25
LEAST, MOST = 1 / 40, 16.0
"""What is beyond is drawn as if it were here; its number says what it is."""


def draw(measured: Mapping[str, Sequence[Figure]], path: Path) -> None:
    """Write an SVG; to the left of 1 Millpond is better."""
    rows = [(name, figure) for name, figures in measured.items() for figure in figures if figure.references]
    picture, axes = plt.subplots(figsize=(10, 1.4 + ROW_INCHES * len(rows)), layout="constrained")
    for place, (_, figure) in enumerate(rows):
        ratio = cost(figure)
        end = min(max(ratio, LEAST), MOST)
        axes.barh(place, end - 1, left=1, color=LOOKS[figure.met][0], height=0.62)
        axes.annotate(
            rounded(ratio),
            (end, place),
            xytext=(4 if ratio >= 1 else -4, 0),
            textcoords="offset points",
            va="center",
            ha="left" if ratio >= 1 else "right",
            fontsize=8,
        )
        if isinstance(figure.target, Target) and figure.target.of == "ratio":
            axes.plot([figure.target.bound] * 2, [place - 0.42, place + 0.42], color="black", linewidth=1.5)
    axes.set_yticks(range(len(rows)), [f"{name}   {f.what}  /  {f.against}" for name, f in rows], fontsize=8)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_xscale("log")
    axes.set_xlim(LEAST / 3, MOST * 1.6)
    axes.set_xticks([0.1, 1, 10], ["a tenth", "the same", "ten times"])
    axes.minorticks_off()
    axes.axvline(1, color="black", linewidth=0.8)
    axes.set_xlabel("time or memory, by that of the reference; black marks are targets")
    axes.legend(
        handles=[Patch(color=color, label=label) for color, label in LOOKS.values()],
        loc="lower left",
        fontsize=8,
        frameon=False,
    )
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(axis="y", length=0)
    for place in (n for n in range(1, len(rows)) if rows[n][0] != rows[n - 1][0]):
        axes.axhline(place - 0.5, color="#dde1e6", linewidth=0.8, zorder=0)
    picture.savefig(path, metadata={"Date": None})
    plt.close(picture)


def cost(figure: Figure) -> float:
    """The ratio with more as worse, also where it is one of rates."""
    assert figure.ratio is not None
    return 1 / figure.ratio if is_rate(figure.unit) else figure.ratio
