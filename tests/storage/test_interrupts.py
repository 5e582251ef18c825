"""What a signal handler that raises leaves of a storage's lock: nothing."""

from pathlib import Path

import pytest
from support.interrupts import needs_timer, storm

from tokenkit.clock import SystemClock
from tokenkit.contracts import TokenStorage
from tokenkit.errors import StorageLockTimeoutError
from tokenkit.storage import FileTokenStorage, InMemoryTokenStorage
from tokenkit.testing._contract.concurrency import in_threads
from tokenkit.tokens import Token

SIGNALS = 200


# Where there is no flock, filelock locks files, and has conditions of its own that an interrupt leaves locked.
@pytest.fixture(params=["memory", pytest.param("file", marks=pytest.mark.posix)])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> TokenStorage:
    return InMemoryTokenStorage() if request.param == "memory" else FileTokenStorage(tmp_path)


def take(storage: TokenStorage) -> None:
    with storage.lock("key", 0):
        pass


@needs_timer
def test_an_interrupt_leaves_no_lock_behind(storage: TokenStorage) -> None:
    """Wherever it falls, another thread finds the lock free at once, and so does this one."""
    failures: list[object] = []

    def look() -> None:
        failures.extend(one for one in in_threads(1, lambda _: take(storage)) if one is not None)
        take(storage)

    storm(lambda: take(storage), SIGNALS, longest=0.001, after=look)
    assert [] == failures


@needs_timer
def test_an_interrupt_leaves_no_write_half_done(storage: TokenStorage) -> None:
    """Entries are read and written as before, by every thread."""

    def change() -> None:
        token = storage.get("key")
        storage.replace("key", token, Token("a"))
        storage.replace("key", Token("a"), Token("b"))

    def look() -> None:
        storage.set("key", Token("c"))
        assert [Token("c")] == in_threads(1, lambda _: storage.get("key"))

    storm(change, SIGNALS, longest=0.001, after=look)


def test_a_lock_that_the_same_thread_holds_is_not_waited_for(storage: TokenStorage) -> None:
    """It is refused at once, whatever the time limit: the thread would wait for itself."""
    began = SystemClock.monotonic()
    with storage.lock("key", 0), pytest.raises(StorageLockTimeoutError), storage.lock("key", 50):
        pass
    assert SystemClock.monotonic() - began < 20


def test_a_hold_that_is_gone_holds_nothing(storage: TokenStorage) -> None:
    """Where both an exit and its repetition were interrupted, the lock is free with the object."""
    lock = storage.lock("key", 0)
    lock.__enter__()
    del lock
    assert [None] == in_threads(1, lambda _: take(storage))
