"""The manual's page of benchmarks and the figures that it was made of."""

import json
from pathlib import Path

import pytest
from benchmarks.draw import PAGE, PLACE, PLOTS, RESULTS
from benchmarks.run import all_scenarios
from benchmarks.tables import written

FOUND = json.loads(RESULTS.read_text(encoding="utf-8"))


def test_the_page_has_the_figures_of_the_run() -> None:
    """No figure is typed by hand: the page is what its figures make of it."""
    page = PAGE.read_text(encoding="utf-8")
    assert written(page, FOUND) == page


def test_the_figures_are_of_all_scenarios() -> None:
    """What is measured is shown."""
    assert all_scenarios() == sorted(FOUND["results"])


@pytest.mark.parametrize("suffix", ["svg", "png"])
def test_each_plot_is_there(suffix: str) -> None:
    """It is drawn as SVG for the manual and as PNG for where none is shown, and no other lies about."""
    assert set(PLOTS) == {picture.stem for picture in Path(PLACE).glob(f"*.{suffix}")}
