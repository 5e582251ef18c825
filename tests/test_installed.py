"""The tests see the package as users get it: built as a wheel, installed, typed."""

import importlib.metadata
import os
import subprocess
import sys
from pathlib import Path

import pytest

import tokenkit

expects_installed = pytest.mark.skipif(
    os.environ.get("TOKENKIT_EXPECT_INSTALLED") != "1",
    reason="TOKENKIT_EXPECT_INSTALLED=1 is not set: the checkout may be under test",
)


@expects_installed
def test_the_installed_package_is_under_test() -> None:
    """`import tokenkit` finds the installed wheel, not the checkout."""
    assert Path(sys.prefix).resolve() in Path(tokenkit.__file__).resolve().parents


@expects_installed
def test_children_import_the_installed_package() -> None:
    """`python -c`, which puts its working directory first, finds the same package."""
    command = [sys.executable, "-c", "import tokenkit; print(tokenkit.__file__)"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30)
    assert tokenkit.__file__ == done.stdout.strip()


@expects_installed
def test_the_version_stands_in_one_place() -> None:
    """The distribution has the version that the package states."""
    assert tokenkit.__version__ == importlib.metadata.version("requests-tokenkit")


def test_the_package_is_marked_as_typed() -> None:
    """Type checkers of users read the annotations (PEP 561)."""
    assert Path(tokenkit.__file__).with_name("py.typed").is_file()
