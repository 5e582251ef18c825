"""Pickles and copies of managers: their configuration, and never a token."""

import copy
import multiprocessing
import pickle
import threading
from collections.abc import Callable

import pytest
from copyable import CANARY, Listener, fetch, make, use

from tokenkit import Token, TokenManager
from tokenkit.fetchers import CallableTokenFetcher


def round_trip(manager: TokenManager) -> TokenManager:
    return pickle.loads(pickle.dumps(manager))


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


def test_a_manager_works_in_another_process() -> None:
    """Sent to a spawned process, it fetches a token there."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert CANARY == pool.apply_async(use, (make(),)).get(30)
