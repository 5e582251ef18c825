"""A manager goes to the processes of multiprocessing, however they are started."""

import multiprocessing
import os
import pickle
from collections.abc import Iterator

import pytest
from support import forked

from tokenkit import ClientCredentialsFetcher, TokenManager
from tokenkit.testing import LocalIdP

pytestmark = pytest.mark.filterwarnings(f"ignore:{forked.FORK_WARNING}:DeprecationWarning")


@pytest.fixture
def manager(local_idp: LocalIdP) -> Iterator[TokenManager]:
    """A manager that holds a token, and has a literal secret."""
    fetcher = ClientCredentialsFetcher(token_url=local_idp.token_url, client_id="client", client_secret="secret")
    with TokenManager(fetcher) as made:
        made.get_token()
        yield made


def ask_in_child(manager: TokenManager, method: str) -> tuple[int, str | None, str]:
    """Return the process id of a child that was given *manager*, and the token it had before and after it asked."""
    context = multiprocessing.get_context(method)
    reading, writing = context.Pipe(duplex=False)
    child = context.Process(target=forked.send_token, args=(manager, writing), daemon=True)
    child.start()
    writing.close()
    try:
        assert reading.poll(forked.PATIENCE), "the child hangs"
        return reading.recv()
    finally:
        child.kill()
        child.join(forked.PATIENCE)
        reading.close()


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="the platform does not fork")
def test_a_forked_process_keeps_the_token(local_idp: LocalIdP, manager: TokenManager) -> None:
    """It inherits the manager as it is, and its token costs nothing."""
    fingerprint = manager.get_token().fingerprint
    pid, before, after = ask_in_child(manager, "fork")
    assert pid != os.getpid()
    assert fingerprint == before == after
    assert 1 == local_idp.count("token")


@pytest.mark.slow
@pytest.mark.parametrize("method", sorted({"spawn", "forkserver"} & {*multiprocessing.get_all_start_methods()}))
def test_a_spawned_process_gets_the_configuration(local_idp: LocalIdP, manager: TokenManager, method: str) -> None:
    """It is given the manager without its token, secret included, and fetches a token of its own."""
    fingerprint = manager.get_token().fingerprint
    pid, before, after = ask_in_child(manager, method)
    assert pid != os.getpid()
    assert before is None
    assert after != fingerprint
    assert 2 == local_idp.count("token")
    assert fingerprint == manager.get_token(0).fingerprint


def test_a_literal_secret_is_not_pickled_otherwise(manager: TokenManager) -> None:
    """Outside of the hand-over to a child that is being spawned, the same manager refuses, and says how to mend it."""
    with pytest.raises(TypeError, match="give that as a callable") as caught:
        pickle.dumps(manager)
    assert "secret'" not in str(caught.value)
