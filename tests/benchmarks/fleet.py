"""A day of a fleet in virtual time: python tests/benchmarks/fleet.py [--hosts N] [--check] [--draw].

It writes docs/explanation/scaling.json, and from that the tables and plots of the manual's page *Scaling to a fleet*;
``--draw`` makes these from the file that is there. ``--check`` holds the model to a real run of 64 processes instead, a
minute long, and ends with status 1 where their fetches differ by more than a tenth; with ``--draw`` too, it shows both.
"""

import argparse
import csv
import gc
import json
import multiprocessing
import platform
import sys
import time
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from fleet_model import SHARINGS, Day, Fleet

DOCS = Path(__file__).resolve().parents[2] / "docs" / "explanation"
HOUR, MINUTE = 3600.0, 60.0
OUTAGES = tuple((3 * HOUR + number * 97 * MINUTE, 10 * MINUTE) for number in range(4))  # at each phase of a lifetime
EVENTS = {
    "ordinary": ("An ordinary hour", 1 * HOUR, 2 * HOUR),
    "outage": ("Four outages of ten minutes", OUTAGES[0][0], OUTAGES[-1][0] + HOUR),
    "revocation": ("All tokens revoked", 11 * HOUR, 12 * HOUR),
    "deployment": ("All restarted in five minutes", 15 * HOUR, 16 * HOUR),
    "clocks": ("Clocks wrong by up to five minutes", 19 * HOUR, 21 * HOUR),
}
CASES = [(name, rotates) for rotates in (False, True) for name in SHARINGS if not (rotates and name == "no storage")]
COLUMNS = ["Shared by", "Requests/s, peak", "Requests/s, mean", "Processes touched", "Calls failed", "Longest stall, s"]
COLUMNS += ["Grants lost"]
BIN = 30  # seconds, in the plots
MOST_APART = 0.1


def day(hosts: int, rotates: bool) -> Day:
    """Return a day with everything in it."""
    return Day(
        hosts=hosts,
        rotates=rotates,
        outages=OUTAGES,
        revoked_at=EVENTS["revocation"][1],
        deployed=(EVENTS["deployment"][1], 5 * MINUTE),
        clocks_wrong=(EVENTS["clocks"][1], 5 * MINUTE),
    )


def figures(fleet: Fleet, begins: float, ends: float) -> dict[str, float]:
    """Return what came of one part of the day."""
    requests = {at: number for at, number in fleet.arrivals.items() if begins <= at < ends}
    stalls = [one for one in fleet.stalls if begins <= one[0] < ends]
    failures = [one for one in fleet.failures if begins <= one[0] < ends]
    return {
        "peak": max(requests.values(), default=0),
        "mean": round(sum(requests.values()) / (ends - begins), 3),
        "touched": len({name for *_, name in stalls} | {name for _, name in failures}),
        "failed": len(failures),
        "longest_stall": round(max((seconds for _, seconds, _ in stalls), default=0.0), 2),
        "grants_lost": sum(begins <= at < ends for at in fleet.grants_lost),
    }


def live(case: tuple[str, bool, int]) -> dict[str, Any]:
    """Return the figures of one sharing, and how many requests came when."""
    import resource  # which not every system has

    name, rotates, hosts = case
    gc.set_threshold(50_000, 20, 100)  # else it walks over ten thousand processes again and again
    fleet = Fleet(day(hosts, rotates), SHARINGS[name]).run()
    binned: dict[int, int] = {}
    for at, number in fleet.arrivals.items():
        binned[at // BIN] = binned.get(at // BIN, 0) + number
    return {
        "sharing": name,
        "rotates": rotates,
        "fetches": len(fleet.issued),
        "storage_calls": fleet.storage_calls,
        "took": {
            "processor_s": round(time.process_time()),
            "mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10,
        },
        "events": {key: figures(fleet, begins, ends) for key, (_, begins, ends) in EVENTS.items()},
        "requests": [] if rotates else sorted(binned.items()),  # the plots show the others
    }


def run(hosts: int) -> dict[str, Any]:
    """Return what came of all cases."""
    with multiprocessing.get_context("spawn").Pool(2, maxtasksperchild=1) as pool:  # which ``took`` goes by
        cases = pool.map(live, [(*case, hosts) for case in CASES], chunksize=1)
    one = day(hosts, False)
    facts = {"hosts": hosts, "processes": hosts * one.per_host, "lifetime": one.lifetime, "calls_a_second": one.calls}
    facts |= {"python": platform.python_version(), "date": f"{datetime.now(timezone.utc):%Y-%m-%d}"}
    return {**facts, "cases": cases}


def rows(result: dict[str, Any], event: str) -> Iterator[list[str]]:
    """Give the lines of a table of the manual."""
    yield COLUMNS
    for case in result["cases"]:
        of = case["events"][event]
        name = case["sharing"] + (", with a refresh token that is replaced" if case["rotates"] else "")
        lost = f"{of['grants_lost']:,}" if case["rotates"] else "none to lose"
        stall = f"{of['longest_stall']:.2f}"
        yield [name, f"{of['peak']:,}", f"{of['mean']:,.2f}", f"{of['touched']:,}", f"{of['failed']:,}", stall, lost]


def check_rows(found: dict[str, tuple[int, int]]) -> Iterator[list[str]]:
    """Give the lines of the table that has real processes beside the model."""
    yield ["Shared by", "Fetches of 64 processes in 20 lifetimes", "Fetches in the model", "Apart"]
    for name, (fetches, modelled) in found.items():
        yield [name, f"{fetches:,}", f"{modelled:,}", f"{abs(modelled / fetches - 1):.1%}"]


def write_tables(result: dict[str, Any], folder: Path) -> None:
    """Write what the manual's page shows as tables."""
    with (folder / "scaling_run.csv").open("w", encoding="utf-8", newline="") as file:
        names = ["Processes", "Hosts", "Tokens live, s", "Calls/s of a process", "CPython", "Date"]
        keys = ["processes", "hosts", "lifetime", "calls_a_second", "python", "date"]
        values = [f"{result[key]:,.0f}" if isinstance(result[key], float | int) else result[key] for key in keys]
        csv.writer(file, lineterminator="\n").writerows([names, values])
    if "check" in result:
        with (folder / "scaling_check.csv").open("w", encoding="utf-8", newline="") as file:
            csv.writer(file, lineterminator="\n").writerows(check_rows(result["check"]))
    for event in EVENTS:
        with (folder / f"scaling_{event}.csv").open("w", encoding="utf-8", newline="") as file:
            csv.writer(file, lineterminator="\n").writerows(rows(result, event))


def draw(result: dict[str, Any], folder: Path) -> None:
    """Draw the requests at the identity provider around each event."""
    import matplotlib as mpl
    from matplotlib import pyplot as plt

    mpl.rcParams.update({"svg.hashsalt": "tokenkit", "svg.fonttype": "none", "font.size": 9})
    for event, (title, begins, ends) in EVENTS.items():
        figure, axes = plt.subplots(figsize=(6.4, 2.8), layout="constrained")
        first, last = int(begins - 10 * MINUTE) // BIN, int(ends) // BIN
        for case in (one for one in result["cases"] if not one["rotates"]):
            requests = dict(map(tuple, case["requests"]))
            bins = range(first, last)
            minutes = [(one * BIN - begins) / MINUTE for one in bins]
            axes.step(minutes, [requests.get(one, 0) / BIN for one in bins], where="post", lw=1, label=case["sharing"])
        axes.set(title=title, xlabel="minutes", ylabel=f"requests/s, over {BIN} s", yscale="symlog", ylim=(0, None))
        axes.set_yscale("symlog", linthresh=0.1)
        axes.legend(frameon=False)
        figure.savefig(folder / f"scaling_{event}.svg", metadata={"Date": None})
        plt.close(figure)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hosts", type=int, default=1000)
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--draw", action="store_true")
    options = parser.parse_args()
    path = DOCS / "scaling.json"
    result = json.loads(path.read_text(encoding="utf-8"))
    if options.check:
        from fleet_check import check

        result["check"] = found = check()
        print(*(" | ".join(row) for row in check_rows(found)), sep="\n")
    elif not options.draw:
        result |= run(options.hosts)
    if options.draw or not options.check:
        path.write_text(json.dumps(result) + "\n", encoding="utf-8")
        write_tables(result, DOCS)
        draw(result, DOCS)
    if options.check:
        return int(any(abs(modelled / fetches - 1) > MOST_APART for fetches, modelled in found.values()))
    for event, (title, *_) in EVENTS.items():
        print(title, *(" | ".join(row) for row in rows(result, event)), sep="\n  ")
    return int(any(case["events"]["outage"]["touched"] for case in result["cases"]))


if __name__ == "__main__":
    sys.exit(main())
