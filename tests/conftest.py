"""Rules for every test: nothing is written to the checkout or the user's cache, nothing is imported from there."""

import gc
import os
import sys
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack
from pathlib import Path
from types import ModuleType

import pytest
from support import needs, protected, scripted

from tokenkit.manager import TokenManager


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Collect no garbage while tests are collected, nor ever look through them: each round of it took a second."""
    gc.disable()
    try:
        return (yield)
    finally:
        if sys.version_info < (3, 14):  # from there on Hypothesis asks who refers to what; of the frozen nobody is told
            gc.freeze()
        gc.enable()


@pytest.fixture(scope="session", autouse=True)
def _away_from_the_checkout(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Run in an empty directory: ``python -c`` and ``-m`` would import the checkout otherwise."""
    before = Path.cwd()
    os.chdir(tmp_path_factory.mktemp("cwd"))
    yield
    os.chdir(before)


@pytest.fixture(scope="session", autouse=True)
def _away_from_the_users_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep the locks and tokens of tests, and of their children, out of the cache of whoever runs them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session", autouse=True)
def _away_from_proxies_and_options() -> Iterator[None]:
    """Reach the servers of the tests, and what stands in for others, whatever the environment of who runs them says."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("PYTEST_ADDOPTS", raising=False)  # nor is a pytest that a test starts told what this one was
        for scheme in ("http", "https", "all", "no"):
            for name in (f"{scheme}_proxy", f"{scheme}_proxy".upper()):
                patch.delenv(name, raising=False)
        yield


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


@pytest.fixture
def make_harness() -> Iterator[Callable[..., scripted.Harness]]:
    """Make managers around scripted sources; see ``scripted.managed`` for the options."""
    with ExitStack() as stack:
        yield lambda **options: stack.enter_context(scripted.managed(**options))


@pytest.fixture
def harness(make_harness: Callable[..., scripted.Harness]) -> scripted.Harness:
    """A manager with a scripted source and a clock that only the test moves."""
    return make_harness()


@pytest.fixture
def mint() -> protected.Issuer:
    """What issues tokens, and knows which of them are good."""
    return protected.Issuer()


@pytest.fixture
def manager(mint: protected.Issuer) -> Iterator[TokenManager]:
    """A manager of the mint's tokens."""
    with protected.managed(mint) as manager:
        yield manager


@pytest.fixture
def api(mint: protected.Issuer) -> Iterator[protected.Resource]:
    """A server that wants the mint's tokens."""
    with protected.resource(mint) as server:
        yield server
