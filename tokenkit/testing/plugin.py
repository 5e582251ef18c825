"""The pytest plugin: fixtures for tests of code that uses tokenkit. Installing the package registers it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tokenkit.fetchers import StaticTokenFetcher
from tokenkit.manager import TokenManager
from tokenkit.testing.clock import FakeClock
from tokenkit.testing.idp import LocalIdP

__all__ = ["fake_clock", "local_idp", "static_token"]


@pytest.fixture
def local_idp() -> Iterator[LocalIdP]:
    """A running :class:`~tokenkit.testing.idp.LocalIdP` of the test's own, stopped after it."""
    with LocalIdP() as idp:
        yield idp


@pytest.fixture
def fake_clock() -> FakeClock:
    """A :class:`~tokenkit.testing.clock.FakeClock` of the test's own."""
    return FakeClock()


@pytest.fixture
def static_token() -> Iterator[TokenManager]:
    """A :class:`~tokenkit.manager.TokenManager` that needs no network: its token is ``static-token``, for ever."""
    with TokenManager(StaticTokenFetcher("static-token"), background=False) as manager:
        yield manager
