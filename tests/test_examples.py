"""The examples run, end, and show what they promise."""

import os
import re
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest

EXAMPLES = sorted((Path(__file__).resolve().parent.parent / "examples").glob("*.py"))
QUICKSTART = EXAMPLES[0].parent / "quickstart.py"
SHOWN = ("one_script", "threads", "processes", "process_pool")  # by pages that have what they print
OTHERS = [one for one in EXAMPLES if one != QUICKSTART and one.stem not in SHOWN]  # tests/cli/test_demo.py runs that


def run(example: Path, **environment: str) -> str:
    """Return what *example* prints; it ends by itself and complains about nothing."""
    done = subprocess.run(
        [sys.executable, "-W", "error", str(example)],
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        env={**os.environ, **environment},
        timeout=50,
        check=False,
    )
    assert (0, "") == (done.returncode, done.stderr), done.stdout
    return done.stdout


def test_the_examples_that_the_manual_names_are_there() -> None:
    """The README's first line runs the quickstart; the tutorial goes on with the two others."""
    names = {example.name for example in EXAMPLES}
    assert set() == {"quickstart.py", "three_step_pipeline.py", "threads.py"} - names


@pytest.mark.parametrize("name", ["one_script.py", "command_token.py", "refresh_token.py"])
def test_an_example_runs_behind_a_proxy(name: str) -> None:
    """Nothing on this machine is asked for through the proxy that the environment names."""
    nowhere = "http://127.0.0.1:1"
    assert run(QUICKSTART.parent / name, HTTP_PROXY=nowhere, http_proxy=nowhere, no_proxy="intranet.example")


OUTPUT = re.compile(r"^\.\. code-block:: text\n   :name: output-of-(\w+)\n\n((?:   .*\n|\n)+)", re.MULTILINE)
PAGES = "".join(page.read_text("utf-8") for page in (QUICKSTART.parent.parent / "docs").rglob("*.rst"))
OUTPUTS = {name: dedent(text).strip() for name, text in OUTPUT.findall(PAGES)}


@pytest.mark.slow
@pytest.mark.parametrize("name", OUTPUTS)
def test_a_page_shows_what_an_example_prints(name: str) -> None:
    """Word by word."""
    assert OUTPUTS[name] == run(QUICKSTART.with_name(f"{name}.py")).strip()


@pytest.mark.slow
@pytest.mark.parametrize("example", OTHERS, ids=lambda path: path.stem)
def test_an_example_runs_and_ends(example: Path) -> None:
    """It prints a result, complains about nothing, and ends by itself."""
    assert run(example).strip()


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_is_short(example: Path) -> None:
    """It is under 60 lines, so that it is read whole."""
    assert len(example.read_text(encoding="utf-8").splitlines()) < 60
