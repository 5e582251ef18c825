"""Pickles and copies of managers, and of what has one: their configuration, and never a token."""

import copy
import multiprocessing
import pickle
import threading
from collections.abc import Callable
from typing import TypeVar

import pytest
from support.copyable import CANARY, CARRIERS, Listener, call, fetch, make, make_client, plain_session

from tokenkit import Token, TokenManager
from tokenkit.fetchers import CallableTokenFetcher
from tokenkit.testing import LocalIdP

T = TypeVar("T")


def round_trip(one: T) -> T:
    return pickle.loads(pickle.dumps(one))


@pytest.mark.parametrize("duplicate", [round_trip, copy.deepcopy, copy.copy])
def test_a_copy_has_the_configuration_alone(duplicate: Callable[[TokenManager], TokenManager]) -> None:
    """It is another manager, without a token, that works."""
    manager = make()
    manager.get_token()
    other = duplicate(manager)
    assert (None, True, "mine") == (other.current, other is not manager, other.source.name)
    assert (manager._policy, False) == (other._policy, other._background)
    assert [Listener] == [type(one) for one in other._announcer.listeners]
    assert CANARY == other.get_token().access_token


def test_a_pickle_holds_no_token() -> None:
    """Not in any protocol, whatever the manager holds."""
    manager = make()
    manager.get_token()
    assert all(
        CANARY.encode() not in pickle.dumps(manager, protocol) for protocol in range(pickle.HIGHEST_PROTOCOL + 1)
    )


@pytest.mark.parametrize(
    "source",
    [
        CallableTokenFetcher(lambda: Token("t"), name="local"),
        CallableTokenFetcher(threading.Lock().acquire, name="lock"),
    ],
    ids=["lambda", "lock"],
)
def test_a_source_that_does_not_pickle_is_named(source: CallableTokenFetcher) -> None:
    """The TypeError says which type it is that cannot be pickled."""
    with pytest.raises(TypeError, match="the token manager's source, a CallableTokenFetcher, cannot be pickled"):
        pickle.dumps(TokenManager(source))


def test_a_deep_copy_needs_no_pickle() -> None:
    """Functions are shared by a deep copy, so that a source that does not pickle can be copied."""
    other = copy.deepcopy(TokenManager(CallableTokenFetcher(lambda: Token("t"), name="local"), background=False))
    assert "t" == other.get_token().access_token


def test_a_running_manager_can_be_copied() -> None:
    """Neither its thread nor its locks are in the way."""
    manager = TokenManager(CallableTokenFetcher(fetch, name="mine"))
    with manager:
        manager.get_token()
        with round_trip(manager) as other:
            assert other.get_token() == manager.get_token()


def in_a_child(carrier: object, url: str) -> tuple[str | None, int, str]:
    """Call *url* with *carrier* in a process that is spawned for it."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply_async(call, (carrier, url)).get(30)


def with_a_deep_copy(carrier: object, url: str) -> tuple[str | None, int, str]:
    return call(copy.deepcopy(carrier), url)


def with_a_pickle(carrier: object, url: str) -> tuple[str | None, int, str]:
    return call(round_trip(carrier), url)


@pytest.mark.parametrize("call_with", [in_a_child, with_a_deep_copy, with_a_pickle])
@pytest.mark.parametrize("make_carrier", CARRIERS.values(), ids=CARRIERS)
def test_what_has_a_manager_can_be_copied_and_sent(
    local_idp: LocalIdP,
    make_carrier: Callable[[TokenManager], object],
    call_with: Callable[[object, str], tuple[str | None, int, str]],
) -> None:
    """A manager, BearerAuth, a requests.Session that has it, an AuthorizedSession: the copy gets its own token."""
    with make_client(local_idp.token_url) as manager:
        fingerprint = manager.get_token().fingerprint
        before, status, after = call_with(make_carrier(manager), f"{local_idp.url}/api/x")
        assert (None, 200) == (before, status)
        assert fingerprint != after
        assert (2, fingerprint) == (local_idp.count("token"), manager.get_token(0).fingerprint)


def test_a_session_keeps_what_else_it_has() -> None:
    """Its headers go with the copy, and its manager is one of its own."""
    with make() as manager:
        session = plain_session(manager)
        for other in (copy.deepcopy(session), round_trip(session)):
            assert ("kept", True) == (other.headers["X-Mine"], other.auth.manager is not manager)
