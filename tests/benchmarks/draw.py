"""``python -m benchmarks.draw [RESULTS]``: the manual's plots and tables, out of the figures of a run.

The figures go beside them, so that a test can hold the page to them.
"""

import shutil
import sys
from collections.abc import Callable
from json import loads
from pathlib import Path
from typing import Any

from benchmarks.peers import BY_NAME
from benchmarks.tables import written

PLACE = Path(__file__).resolve().parents[2] / "docs" / "explanation" / "benchmarks"
RESULTS, PAGE = PLACE / "results.json", PLACE.with_suffix(".rst")
# name of the picture: title, scenario, variant, figure, whether the axis is logarithmic
PLOTS = {
    "fresh": ("Authorise a request, ns (log scale)", "authorise", "1 threads", "ns", True),
    "threads": ("Authorisations a second, 32 threads (log scale)", "authorise", "32 threads", "rate", True),
    "boundary": (
        "Renewal boundary: 99.9th percentile from schedule, ms (log scale)",
        "boundary",
        "renewal",
        "p999_ms",
        True,
    ),
    "herd": ("Fetches of 50 threads that have no token", "herd", "cold", "fetches", False),
    "storm": ("Longest request in a storm of 401, ms", "storm", "revoked", "longest_ms", False),
    "late": ("Failed requests while a resource learns of the token", "late", "0.5 s", "failures", False),
    "processes": ("Fetches of 8 processes", "processes", "8, file", "fetches", False),
    "importing": ("Import of requests and a program's names, ms", "importing", "beside requests", "program_ms", False),
}


def main(results: Path) -> None:
    found = loads(results.read_text(encoding="utf-8"))
    PLACE.mkdir(exist_ok=True)
    if results.resolve() != RESULTS:
        shutil.copyfile(results, RESULTS)
    PAGE.write_text(written(PAGE.read_text(encoding="utf-8"), found), encoding="utf-8")
    for name, (title, scenario, variant, figure, logarithmic) in PLOTS.items():
        draw(name, title, found["results"][scenario][variant], figure, logarithmic)


def draw(name: str, title: str, peers: dict[str, Any], figure: str, logarithmic: bool) -> None:
    """Draw a bar for each peer that has the *figure*, from the least to the most, and save it as SVG and PNG."""
    import matplotlib as mpl

    mpl.use("agg")
    mpl.rcParams["svg.hashsalt"] = "tokenkit"
    from matplotlib import pyplot as plt

    shown = {BY_NAME[peer].label: figures for peer, figures in peers.items() if figure in figures}
    part: Callable[[str], list[float]] = lambda which: [one[figure][which] for one in shown.values()]  # noqa: E731
    middle = part("median")
    around = [[m - low for m, low in zip(middle, part("least"), strict=True)]]
    around.append([most - m for m, most in zip(middle, part("most"), strict=True)])
    picture, axes = plt.subplots(figsize=(7, 0.5 + 0.32 * len(shown)), layout="constrained")
    colours = ["#2563eb" if label == "tokenkit" else "#9ca3af" for label in shown]
    axes.barh(list(shown), middle, xerr=around, color=colours, ecolor="#374151", log=logarithmic)
    axes.invert_yaxis()
    axes.set_title(title, fontsize=10)
    for suffix in ("svg", "png"):
        extra = {"metadata": {"Date": None}} if suffix == "svg" else {}
        picture.savefig(PLACE / f"{name}.{suffix}", dpi=120, **extra)
    plt.close(picture)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else RESULTS)
