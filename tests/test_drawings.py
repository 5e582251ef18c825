"""What the manual draws and tells of the architecture is what the imports say."""

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest
import test_architecture

DOCS = Path(__file__).resolve().parent.parent / "docs"
PAGE = (DOCS / "explanation" / "architecture.rst").read_text(encoding="utf-8")
ROOMS = {module.room for module in test_architecture.MODULES} - {"", "__main__"}
TERMS = {"attempt", "due", "expired", "land", "adopt", "supersede", "reject", "predecessor", "grant", "look"}


@pytest.fixture(scope="module")
def script() -> ModuleType:
    """``docs/draw_architecture.py``, which is no part of a package."""
    spec = importlib.util.spec_from_file_location("draw_architecture", DOCS / "draw_architecture.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_drawing_shows_the_imports(script: ModuleType) -> None:
    """It is what the script draws now; ``python docs/draw_architecture.py`` draws it again."""
    assert script.drawing() == script.DRAWING.read_text(encoding="utf-8")


def test_the_drawing_fits_a_page(script: ModuleType) -> None:
    """It is at most 640 wide, so that its words can be read on a phone, and no box leaves it."""
    boxes, _bands, height = script.place(script.rooms())
    assert script.WIDTH <= 640
    assert [] == [room for room, (x, y, width) in boxes.items() if x < 0 or x + width > script.WIDTH or y > height]


def test_the_page_tells_of_every_room() -> None:
    """Each room has its promise in the tables, and none is promised that is not there."""
    told = set(re.findall(r"^   \* - ``(\w+)``$", PAGE, re.MULTILINE))
    assert ROOMS == told


def test_the_page_says_what_a_change_touches() -> None:
    """The files that it names are there."""
    named = set(re.findall(r"``((?:\w+/)*\w+/(?:\w+\.(?:py|rst))?)``", PAGE))
    places = [DOCS.parent, DOCS.parent / "tokenkit"]
    assert [] == [name for name in sorted(named) if not any((place / name).exists() for place in places)]


def test_the_glossary_has_our_words() -> None:
    """Words that mean one thing here and are no standard's."""
    page = (DOCS / "explanation" / "glossary.rst").read_text(encoding="utf-8")
    assert TERMS | {"single flight"} <= set(re.findall(r"^   ([a-z ]+)$", page, re.MULTILINE))


def test_the_page_of_helpers_has_every_helper() -> None:
    """Whoever writes a test finds what is there, and what it is for."""
    support = Path(__file__).parent / "support"
    helpers = {path.stem for path in support.glob("*.py") if not path.name.startswith(("__", "test_"))}
    page = (support / "README.md").read_text(encoding="utf-8")
    assert helpers == {
        name for row in re.findall(r"^\| (`.+?) \|", page, re.MULTILINE) for name in row.split("`")[1::2]
    }
