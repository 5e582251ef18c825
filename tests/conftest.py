"""Rules for every test: nothing is written to the checkout, nothing is imported from it."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import needs
import pytest


@pytest.fixture(scope="session", autouse=True)
def _away_from_the_checkout(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Run in an empty directory: ``python -c`` and ``-m`` would import the checkout otherwise."""
    before = Path.cwd()
    os.chdir(tmp_path_factory.mktemp("cwd"))
    yield
    os.chdir(before)


@pytest.fixture(scope="session")
def repository() -> Path:
    """The checkout that the tests belong to."""
    return Path(__file__).resolve().parent.parent


@pytest.fixture
def require() -> Callable[[str], ModuleType]:
    """Give an optional package by its module name: skips where it is missing, fails in CI."""
    return needs.module


@pytest.fixture
def require_program() -> Callable[[str], str]:
    """Give the path of a program by its name: skips where it is missing, fails in CI."""
    return needs.program
