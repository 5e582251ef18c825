"""Which rounds of a scenario are run: of whom, and how many."""

from types import ModuleType
from typing import Any

import pytest

from benchmarks.run import run_variant


class Scripted:
    """Workers that answer at once, one of which keeps its callers waiting."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def ask(self, _scenario: ModuleType, name: str, _copy: int, _options: dict[str, Any]) -> dict[str, Any]:
        self.asked.append(name)
        return {"waiting": int(name == "hanging")}


@pytest.fixture
def scenario() -> ModuleType:
    made = ModuleType("a_scenario")
    made.PLAN, made.ROUNDS_OF = {"any": {}}, {"costly": 2}  # type: ignore[attr-defined]
    return made


def test_who_keeps_callers_waiting_or_is_costly_has_fewer_rounds(scenario: ModuleType) -> None:
    """The time of a run goes to what varies; the rounds of all are interleaved."""
    workers = Scripted()
    run_variant(workers, scenario, "any", 3, ["ours", "hanging", "costly"])  # type: ignore[arg-type]  # no process
    assert ["ours", "hanging", "costly", "ours", "costly", "ours"] == workers.asked
