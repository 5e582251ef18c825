"""Which configuration a command means, and which manager in it."""

import io
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tokenkit.cli import main


def table(token: str) -> str:
    return f'[one]\nsource = "static"\ntoken = "{token}"\n'


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The directory of the user's configuration, which has a file of its own."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    (tmp_path / "tokenkit.toml").write_text(table("own"))
    return tmp_path


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The directory in which the command runs, whose modules can be imported, and are forgotten afterwards."""
    known = set(sys.modules)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    for name in set(sys.modules) - known:
        if name.startswith("cli_"):
            del sys.modules[name]


def test_the_users_own_file_is_read_without_being_named(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Where nothing else says which."""
    assert (0, "own\n") == (main(["token"]), capsys.readouterr().out)


def test_a_variable_comes_before_the_users_own_file(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """TOKENKIT_CONFIG names a file for all commands of a shell."""
    (home / "named.toml").write_text(table("named"))
    monkeypatch.setenv("TOKENKIT_CONFIG", str(home / "named.toml"))
    assert (0, "named\n") == (main(["token"]), capsys.readouterr().out)


def test_a_prefix_comes_before_both(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """--prefix on the command line says that environment variables are meant, which have no names to list."""
    monkeypatch.setenv("TOKENKIT_CONFIG", "/nowhere")
    monkeypatch.setenv("CLI_SOURCE", "static")
    monkeypatch.setenv("CLI_TOKEN", "abc")
    assert (0, "abc\n") == (main(["token", "--prefix", "CLI"]), capsys.readouterr().out)
    assert (0, "") == (main(["list", "--prefix", "CLI"]), capsys.readouterr().out)


def test_a_dash_is_standard_input(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """So that a configuration need not lie on a disk; an error in it says where it stood."""
    monkeypatch.setattr(sys, "stdin", io.StringIO(table("piped")))
    assert (0, "piped\n") == (main(["token", "--config", "-"]), capsys.readouterr().out)
    monkeypatch.setattr(sys, "stdin", io.StringIO("[one"))
    assert 2 == main(["token", "--config", "-"])
    assert "standard input" in capsys.readouterr().err


def test_list_prints_the_names_of_the_tables(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One a line, in the order of the file."""
    (home / "tokenkit.toml").write_text(table("own") + table("other").replace("[one]", "[two]"))
    assert (0, "one\ntwo\n") == (main(["list"]), capsys.readouterr().out)


def test_a_file_without_tables_is_not_called_good(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Whoever checks an empty file has named the wrong one."""
    (home / "tokenkit.toml").write_text("")
    assert 2 == main(["check"])
    assert "tokenkit.toml describes no manager: a table such as [orders] does" in capsys.readouterr().err


MADE = """
from tokenkit import TokenManager
from tokenkit.fetchers import StaticTokenFetcher

manager = TokenManager(StaticTokenFetcher("made"))

def make():
    return TokenManager(StaticTokenFetcher("made"))
"""


@pytest.mark.parametrize("name", ["manager", "make"])
def test_a_manager_may_be_a_programs_own(here: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    """module:object is a manager, or a function that returns one, in the directory where the command runs."""
    (here / "cli_made.py").write_text(MADE)
    assert (0, "made\n") == (main(["token", f"cli_made:{name}"]), capsys.readouterr().out)
