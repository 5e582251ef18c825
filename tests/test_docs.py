"""What the manual shows, runs."""

import re
import runpy
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from support import package_source, pages

from tokenkit import from_config
from tokenkit.cli import main
from tokenkit.config._toml import tables_of
from tokenkit.testing import LocalIdP

REPOSITORY = Path(__file__).resolve().parent.parent
PAGES = [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").rglob("*.rst"))]
LOCKS = re.compile(r"threading\.(R?Lock|Condition|Semaphore)\(|PerProcess\(threading|\bGuard\b\(|PerProcess\(Guard")
LOCKING = [m for m in package_source.modules() if LOCKS.search(m.text)]
TESTS = re.compile(r"^ *(def test_|class Test)", re.MULTILINE)
TESTED = [page for page in PAGES if TESTS.search(page.read_text("utf-8"))]
CONFIGURATION = REPOSITORY / "docs" / "howto" / "configuration.rst"
# Not Python: the README's lines for a shell are run by .ci/run, what they say of `tokenkit` below.
SHOWN = {"sh", "text", "toml", "ini"}

RUN = [page for page in PAGES if any(block.language == "python" for block in pages.blocks(page))]


@pytest.mark.parametrize("page", RUN, ids=lambda page: page.stem)
def test_the_code_of_a_page_runs(page: Path) -> None:
    """The Python blocks of a page work one after the other, in a fresh interpreter."""
    done = subprocess.run(
        [sys.executable, "-W", "error", pages.__file__, str(page)],
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )
    assert (0, "") == (done.returncode, done.stderr), done.stdout


@pytest.mark.parametrize("page", TESTED, ids=lambda page: page.stem)
def test_the_tests_of_a_page_pass(page: Path, tmp_path: Path) -> None:
    """What a page shows as a test is one that pytest finds, with the fixtures of the package."""
    (tmp_path / "test_page.py").write_text(code(page, "python"), encoding="utf-8")
    command = [sys.executable, "-W", "error", "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:randomly"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=150, check=False)
    assert (0, "") == (done.returncode, done.stderr), done.stdout


def test_a_page_says_what_its_blocks_are() -> None:
    """A block is Python, and run, or of a language that is only shown."""
    other = {page.stem: {block.language for block in pages.blocks(page)} - SHOWN - {"python"} for page in PAGES}
    assert {} == {name: languages for name, languages in other.items() if languages}


def test_a_page_has_no_block_that_escapes() -> None:
    """A bare `::` block would be shown as Python and never run."""
    escaping = [
        (page.stem, line)
        for page in PAGES
        for line in page.read_text(encoding="utf-8").splitlines()
        if page.suffix == ".rst" and line.endswith("::") and not line.lstrip().startswith("..")
    ]
    assert [] == escaping


def test_a_page_includes_only_examples() -> None:
    """An included file is one of examples/, which the tests run, and is there."""
    examples = REPOSITORY / "examples"
    included = [path for page in PAGES for path in pages.included(page)]
    assert [] == [path for path in included if examples not in path.parents or not path.is_file()]


def test_code_fits_a_page() -> None:
    """No line that the manual shows is longer than the 88 columns of a page, but for the README's two for a shell."""
    shown = {
        (page.name, line)
        for page in PAGES
        for text in [
            *(block.code for block in pages.blocks(page) if (page.suffix, block.language) != (".md", "sh")),
            *(path.read_text(encoding="utf-8") for path in pages.included(page)),
        ]
        for line in text.splitlines()
        if len(line) > 88
    }
    assert set() == shown


def code(page: Path, language: str) -> str:
    """Return all blocks of *page* in *language*, one after the other."""
    return "".join(block.code for block in pages.blocks(page) if block.language == language)


def test_the_tables_of_a_page_make_managers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A configuration that the manual shows is one that is accepted."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    for page in PAGES:
        path = tmp_path / f"{page.stem}.toml"
        path.write_text(code(page, "toml"), encoding="utf-8")
        for name in tables_of(path):
            from_config(path, name).close()


def test_the_commands_of_the_manual_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], local_idp: LocalIdP
) -> None:
    """Each line for ``tokenkit`` does what it should with the file that the same page shows."""
    local_idp.add_client("orders-worker", "secret")
    for name, value in {"ORDERS_SECRET": "secret", "XDG_CACHE_HOME": str(tmp_path)}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    shown = code(CONFIGURATION, "toml").replace("https://idp.example.com/token", local_idp.token_url)
    Path("tokens.toml").write_text(shown, encoding="utf-8")
    commands = [shlex.split(line.partition(" | ")[0], comments=True) for line in code(CONFIGURATION, "sh").splitlines()]
    assert {"check", "show", "token"} == {command[1] for command in commands}
    for _tokenkit, *arguments in commands:
        assert 0 == main(arguments), capsys.readouterr().err


def test_the_manual_lists_every_lock() -> None:
    """A module that makes a lock stands in the table of locks, except for the testing kit's."""
    page = (REPOSITORY / "docs" / "explanation" / "concurrency.rst").read_text(encoding="utf-8")
    missing = [module.name for module in LOCKING if f"``tokenkit.{module.name}``" not in page]
    assert [] == [name for name in missing if not name.startswith("testing.")]


def test_the_pictures_are_those_that_the_script_draws() -> None:
    """Whoever changes the script runs it."""
    script = runpy.run_path(str(REPOSITORY / "docs" / "draw_pictures.py"))
    folder = REPOSITORY / "docs" / "explanation"
    stale = [name for name, draw in script["PICTURES"].items() if draw() != (folder / name).read_text("utf-8")]
    assert [] == stale
