"""Runs the scenarios: each peer in a process of its own, round after round in turn, all at one server.

A peer that crashes or hangs is told as such in the results, and the run goes on.
"""

import importlib
import json
import os
import pkgutil
import platform
import signal
import statistics
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path
from types import ModuleType
from typing import Any

import tokenkit
from benchmarks import scenarios
from benchmarks.peers import PEERS
from benchmarks.realm import running_server

PATIENCE = 30.0  # seconds for a round, where the scenario says nothing
Rounds = list[dict[str, Any]]


class Worker:
    """The process of one peer, started when it is first told to measure, and after it has ended."""

    def __init__(self, url: str, name: str, copy: int) -> None:
        self._command = [sys.executable, "-m", "benchmarks.worker", url, name]
        self._realm = f"{name}-{copy}"
        self._process: subprocess.Popen[str] | None = None

    def ask(self, scenario: str, options: dict[str, Any], patience: float) -> dict[str, Any]:
        """Return the figures of one round, or how it failed."""
        process = self._process = self._process or self._start()
        assert process.stdin is not None
        assert process.stdout is not None
        order = {"scenario": scenario, "options": options, "realm": self._realm}
        limit = threading.Timer(patience, self.end)
        limit.start()
        began = time.monotonic()
        try:
            process.stdin.write(f"{json.dumps(order)}\n")
            process.stdin.flush()
            line = process.stdout.readline()
        except OSError:
            line = ""
        finally:
            limit.cancel()
        figures = (
            json.loads(line) if line else {"error": "hangs" if time.monotonic() - began >= patience else "crashes"}
        )
        if not line or figures.get("waiting"):
            self.end()
        return dict(figures)

    def _start(self) -> "subprocess.Popen[str]":
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
        return subprocess.Popen(self._command, text=True, start_new_session=True, **pipes)

    def end(self) -> None:
        """Kill it, with all that it has started."""
        process, self._process = self._process, None
        if process is not None:
            try:
                os.killpg(process.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
            process.wait()


class Workers:
    """The processes of all peers."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._all: dict[tuple[str, int], Worker] = {}

    def ask(self, scenario: ModuleType, name: str, copy: int, options: dict[str, Any]) -> dict[str, Any]:
        worker = self._all.setdefault((name, copy), Worker(self._url, name, copy))
        if getattr(scenario, "FRESH", False):
            worker.end()
        short = scenario.__name__.rpartition(".")[2]
        return worker.ask(short, options, getattr(scenario, "PATIENCE", PATIENCE) + PATIENCE)

    def end(self) -> None:
        for worker in self._all.values():
            worker.end()


def run_variant(
    workers: Workers, scenario: ModuleType, variant: str, rounds: int, names: list[str]
) -> dict[str, Rounds]:
    """Return the figures of each round by the name of the peer; the rounds of all are interleaved."""
    only = getattr(scenario, "ONLY", {}).get(variant, names)
    names, options = [name for name in names if name in only], scenario.PLAN[variant]
    copies, rounds_of = getattr(scenario, "COPIES", {}), getattr(scenario, "ROUNDS_OF", {})
    places = [(name, copy) for name in names for copy in range(copies.get(name, 1))]
    found: dict[str, Rounds] = {name: [] for name in names}
    with ThreadPoolExecutor(len(places) if getattr(scenario, "TOGETHER", False) else 1) as pool:
        for number in range(rounds):
            still = [place for place in places if number < rounds_of.get(place[0], rounds)]
            asked = pool.map(lambda place: workers.ask(scenario, *place, options), still)
            for (name, copy), figures in zip(still, asked, strict=True):
                found[name].append(figures)
                if hangs(figures):  # it would again, for as long
                    places.remove((name, copy))
    return found


def hangs(figures: dict[str, Any]) -> bool:
    """Return whether callers have been kept waiting for longer than any would."""
    return bool(figures.get("waiting")) or figures.get("error") == "hangs"


def summed_up(rounds: Rounds) -> dict[str, Any]:
    """Return the median, the spread and the sum of each figure, and the errors."""
    faults = sorted({one["error"] for one in rounds if "error" in one})
    summary: dict[str, Any] = {"rounds": len(rounds), **({"faults": faults} if faults else {})}
    for name in dict.fromkeys(name for one in rounds for name in one if name != "error"):
        values = [one[name] for one in rounds if name in one]
        spread = {"median": statistics.median(values), "least": min(values), "most": max(values), "sum": sum(values)}
        summary[name] = {what: float(f"{value:.4g}") for what, value in spread.items()}
    return summary


def all_scenarios() -> list[str]:
    return sorted(found.name for found in pkgutil.iter_modules(scenarios.__path__))


def machine() -> dict[str, Any]:
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    others = [*(peer.label for peer in PEERS[1:]), "requests", "urllib3"]
    return {
        "date": datetime.now(timezone.utc).date().isoformat(),
        "machine": f"{os.cpu_count()} cores, {models[0] if models else platform.machine()}, {platform.system()}",
        "python": platform.python_version(),
        "versions": {"tokenkit": tokenkit.__version__, **{name: version(name) for name in others}},
    }


def run(chosen: list[str], rounds: int | None, names: list[str]) -> dict[str, Any]:
    """Run the *chosen* scenarios with the peers of *names*; *rounds* of each, or what each says."""
    began, results = time.monotonic(), dict[str, Any]()
    with running_server() as url:
        workers = Workers(url)
        try:
            for name in chosen:
                since = time.monotonic()
                scenario = importlib.import_module(f"benchmarks.scenarios.{name}")
                results[name] = {}
                for variant in scenario.PLAN:
                    number = min(rounds or scenario.ROUNDS, scenario.ROUNDS)
                    found = run_variant(workers, scenario, variant, number, names)
                    results[name][variant] = {peer: summed_up(each) for peer, each in found.items()}
                print(f"{name}: {time.monotonic() - since:.0f} s", file=sys.stderr, flush=True)
        finally:
            workers.end()
    return {**machine(), "seconds": round(time.monotonic() - began), "results": results}
