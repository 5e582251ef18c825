"""The model of a fleet, small: outages, sharing, a bad policy, and what the manual shows."""

import importlib
import json
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tokenkit import RefreshPolicy

HERE = Path(__file__).resolve().parent
PAGES = HERE.parents[1] / "docs" / "explanation"
SHARINGS = ["no storage", "a file on each host", "one Redis"]
STARTED = 400.0  # seconds, by which all have their first token
OUTAGE = (2500.0, 600.0)  # just before the first are due


@pytest.fixture(scope="module")
def fleet() -> Iterator[ModuleType]:
    """``fleet.py``, which is a program."""
    pytest.importorskip("redis")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(HERE))
        yield importlib.import_module("fleet")


def lived(fleet: ModuleType, sharing: str, **day: Any) -> Any:
    """Return a fleet after an hour and more, of thirty where nothing else is said."""
    return fleet.Fleet(
        fleet.Day(**{"hosts": 5, "per_host": 6, "seconds": 4000.0, **day}), fleet.SHARINGS[sharing]
    ).run()


def touched(lived: Any) -> set[int]:
    """Return the processes of which a call failed or waited after the start."""
    stalled = {name for at, _, name in lived.stalls if at > STARTED}
    return stalled | {name for at, name in lived.failures if at > STARTED}


@pytest.mark.parametrize("sharing", SHARINGS)
def test_an_outage_of_ten_minutes_touches_nobody(fleet: ModuleType, sharing: str) -> None:
    """With tokens of an hour the renewals that fail are tried again until the outage is over."""
    one = lived(fleet, sharing, outages=(OUTAGE,))
    assert any(OUTAGE[0] <= at < sum(OUTAGE) for at in one.arrivals)
    assert set() == touched(one)


def test_the_model_goes_by_the_policy(fleet: ModuleType) -> None:
    """Tokens that are due five minutes before their end do not outlast ten minutes."""
    late = RefreshPolicy(lifetime_safe_fraction=0.95, jitter=0.05)
    assert touched(lived(fleet, "no storage", policy=late, outages=((3000.0, 600.0),)))


@pytest.mark.parametrize(("sharing", "most"), [("no storage", 30), ("a file on each host", 5), ("one Redis", 1)])
def test_a_revocation_costs_one_fetch_of_each_who_share(fleet: ModuleType, sharing: str, most: int) -> None:
    """All are served, by as few requests at the identity provider as there are storages."""
    one = lived(fleet, sharing, seconds=1100.0, revoked_at=1000.0)
    assert (most, []) == (sum(at >= 1000 for at in one.issued), one.failures)


def test_nobody_waits_for_the_turns_of_a_thousand(fleet: ModuleType) -> None:
    """Who waits for the lock of one Redis has the new token as soon as it is there: a source's time, and a look."""
    one = lived(fleet, "one Redis", hosts=100, per_host=10, seconds=1060.0, revoked_at=1000.0)
    waited = [seconds for at, seconds, _ in one.stalls if at >= 1000]
    assert 900 < len(waited)
    assert 0.7 > max(waited)


@pytest.mark.parametrize("sharing", SHARINGS[1:])
def test_kills_lose_no_grant_that_was_stored(fleet: ModuleType, sharing: str) -> None:
    """Whoever starts where another was killed goes on with the refresh token that is in the storage."""
    one = lived(fleet, sharing, seconds=1400.0, rotates=True, deployed=(1000.0, 300.0))
    assert ([], []) == (one.grants_lost, one.failures)


def test_the_manual_shows_what_the_run_said(fleet: ModuleType, tmp_path: Path) -> None:
    """``python tests/benchmarks/fleet.py --draw`` writes its tables from the run's JSON; the plots are small."""
    fleet.write_tables(json.loads((PAGES / "scaling.json").read_text("utf-8")), tmp_path)
    made = {path.name: path.read_text("utf-8") for path in tmp_path.iterdir()}
    assert made == {path.name: path.read_text("utf-8") for path in PAGES.glob("scaling_*.csv")}
    assert [] == [path.name for path in PAGES.glob("scaling_*.svg") if path.stat().st_size > 60_000]
