"""The table as a picture: every ratio as a bar, with a line where it should end."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib as mpl

from bench.figure import Figure, Target, is_rate

mpl.use("svg")
mpl.rcParams["svg.hashsalt"] = "millpond"  # so that the same figures give the same file

from matplotlib import pyplot as plt  # noqa: E402 -- after its backend is chosen

MET, MISSED, NEUTRAL = "#2f7d5b", "#b4472f", "#8a94a0"
ROW_INCHES = 0.27


def draw(measured: Mapping[str, Sequence[Figure]], path: Path) -> None:
    """Write an SVG; to the left of 1 Millpond is better."""
    rows = [(name, figure) for name, figures in measured.items() for figure in figures if figure.references]
    picture, axes = plt.subplots(figsize=(9, 1 + ROW_INCHES * len(rows)), layout="constrained")
    for place, (_, figure) in enumerate(reversed(rows)):
        ratio = cost(figure)
        axes.barh(place, ratio, color={True: MET, False: MISSED, None: NEUTRAL}[figure.met], height=0.6)
        axes.annotate(
            f"{ratio:.2f}", (ratio, place), xytext=(3, 0), textcoords="offset points", va="center", fontsize=8
        )
        if isinstance(figure.target, Target) and figure.target.of == "ratio":
            axes.plot([figure.target.bound] * 2, [place - 0.4, place + 0.4], color="black", linewidth=1.5)
    labels = [f"{name}  {figure.what}  /  {figure.against}" for name, figure in reversed(rows)]
    axes.set_yticks(range(len(rows)), labels, fontsize=8)
    axes.set_xscale("log")
    axes.axvline(1, color="black", linewidth=0.5)
    axes.set_xlabel("time or memory by that of the reference; the less the better (black: the target)")
    axes.spines[["top", "right"]].set_visible(False)
    picture.savefig(path, metadata={"Date": None})
    plt.close(picture)


def cost(figure: Figure) -> float:
    """The ratio with more as worse, also where it is one of rates."""
    assert figure.ratio is not None
    return 1 / figure.ratio if is_rate(figure.unit) else figure.ratio
