"""What the manual shows, runs."""

import re
import subprocess
import sys
from pathlib import Path

import pages
import pytest
import source

REPOSITORY = Path(__file__).resolve().parent.parent
PAGES = [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").rglob("*.rst"))]
LOCKS = re.compile(r"threading\.(R?Lock|Condition|Semaphore)\(|PerProcess\(threading")
LOCKING = [m for m in source.modules() if LOCKS.search(m.path.read_text("utf-8"))]
# Not Python: the README's lines for a shell are run by .ci/run, figures and files are only shown.
SHOWN = {"sh", "text", "toml", "ini"}

each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)


@each_page
def test_the_code_of_a_page_runs(page: Path) -> None:
    """The Python blocks of a page work one after the other, in a fresh interpreter."""
    if not any(block.language == "python" for block in pages.blocks(page)):
        return
    done = subprocess.run(
        [sys.executable, "-W", "error", pages.__file__, str(page)],
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert (0, "") == (done.returncode, done.stderr), done.stdout


@each_page
def test_a_page_says_what_its_blocks_are(page: Path) -> None:
    """A block is Python, and run, or of a language that is only shown."""
    assert set() == {block.language for block in pages.blocks(page)} - SHOWN - {"python"}


@each_page
def test_a_page_has_no_block_that_escapes(page: Path) -> None:
    """A bare `::` block would be shown as Python and never run."""
    lines = page.read_text(encoding="utf-8").splitlines() if page.suffix == ".rst" else []
    assert [] == [line for line in lines if line.endswith("::") and not line.lstrip().startswith("..")]


@each_page
def test_a_page_includes_only_examples(page: Path) -> None:
    """An included file is one of examples/, which the tests run."""
    examples = REPOSITORY / "examples"
    wrong = [path for path in pages.included(page) if examples not in path.parents]
    assert [] == wrong
    assert [] == [path for path in pages.included(page) if not path.is_file()]


def test_docstrings_have_no_example_that_nobody_runs() -> None:
    """Code that shows how to use tokenkit is in the manual and in examples/, where it runs."""
    assert [] == [module.name for module in source.modules() if ">>> " in module.path.read_text("utf-8")]


@pytest.mark.parametrize("module", LOCKING, ids=lambda module: module.name)
def test_the_manual_lists_every_lock(module: source.Module) -> None:
    """A module that makes a lock stands in the table of locks, except for the testing kit's."""
    page = (REPOSITORY / "docs" / "explanation" / "concurrency.rst").read_text(encoding="utf-8")
    assert module.name.startswith("testing.") or f"``tokenkit.{module.name}``" in page
