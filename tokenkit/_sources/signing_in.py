"""A person's sign-in, for all who share a storage: one person is asked once, and what comes of it serves everybody."""

from __future__ import annotations

import logging
import queue
import secrets
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, Final, final

from tokenkit._sources.grants import SharedGrant
from tokenkit._sources.ledger import ledger_of
from tokenkit._sources.sharing import SharedToken
from tokenkit.clock import Clock
from tokenkit.contracts import TokenProvider, TokenStorage
from tokenkit.errors import AuthenticationError, SignInRequiredError, StorageError
from tokenkit.tokens import Token

__all__ = ["SignInMark", "store_signed_in", "with_sign_in"]

logger: logging.Logger = logging.getLogger("tokenkit.storage")

_NO_TOKEN: Final = "-"
_LIFETIME: Final = 20.0  # seconds that a mark counts for, should its holder die
_RENEWAL: Final = 5.0  # seconds between two renewals of it
_POLL: Final = 0.5  # seconds between two looks whether another's sign-in is over


@final
class SignInMark:
    """Tells all who share a storage that a person is being asked: an entry that is renewed for as long as that takes.

    No lock of the storage will do: a lease is over long before a person has found a password.

    Args:
        storage: Where it stands.
        key: The grant's key.
        clock: What its age is told by.
    """

    def __init__(self, storage: TokenStorage, key: str, clock: Clock) -> None:
        self._storage = storage
        self._key = f"{key}:sign-in"
        self._clock = clock

    def is_set(self) -> bool:
        """Return whether somebody is asking a person now; False where the storage is in trouble."""
        try:
            mark = self._storage.get(self._key)
        except Exception:  # a user's storage may raise anything
            return False
        return mark is not None and not mark.is_expired(self._clock.now())

    @contextmanager
    def hold(self, deadline: float) -> Iterator[bool]:
        """Hold it for the block; give whether another had to be waited for.

        Raises:
            SignInRequiredError: Another's sign-in is still under way at *deadline*, on the monotonic clock.
        """
        waited = False
        mine = self._mark()
        while not self._take(mine):
            waited = True
            if self._clock.monotonic() >= deadline:
                raise SignInRequiredError("another program is asking a person to sign in, which takes too long")
            self._clock.nap(queue.SimpleQueue(), _POLL)
        keeper = _Keeper(self, mine)
        keeper.start()
        try:
            yield waited
        finally:
            keeper.end()

    def renew(self, mine: Token) -> Token:
        """Put a younger mark in the place of *mine*, and return it; *mine* where the storage is in trouble."""
        younger = self._mark(mine.extra["by"])
        try:
            return younger if self._storage.replace(self._key, mine, younger) else mine
        except Exception:
            return mine

    def drop(self, mine: Token) -> None:
        """Take *mine* away."""
        try:
            self._storage.delete_if_equal(self._key, mine)
        except Exception as error:
            logger.warning(
                "the mark of a sign-in could not be taken away yet (%s) [sign-in-unsaved]", type(error).__name__
            )

    def _take(self, mine: Token) -> bool:
        try:
            held = self._storage.get(self._key)
            if held is not None and not held.is_expired(self._clock.now()):
                return False
            return self._storage.replace(self._key, held, mine)
        except StorageError as error:  # a person is there: better ask twice than not at all
            logger.warning("a sign-in goes on without the storage: %s [sign-in-unsaved]", error)
            return True

    def _mark(self, by: str | None = None) -> Token:
        now = self._clock.now()
        return Token(
            _NO_TOKEN,
            issued_at=now,
            expires_at=now + timedelta(seconds=_LIFETIME),
            extra={"by": by or secrets.token_hex(8)},
        )


@final
class _Keeper:
    """Renews a mark, in a thread of its own, until it is told to end."""

    def __init__(self, mark: SignInMark, mine: Token) -> None:
        self._mark = mark
        self._mine = mine
        self._ended: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._live, name="tokenkit-sign-in-mark", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def end(self) -> None:
        self._ended.put(None)
        self._thread.join(_RENEWAL)
        self._mark.drop(self._mine)

    def _live(self) -> None:
        while True:
            try:
                self._ended.get(timeout=_RENEWAL)
            except queue.Empty:
                self._mine = self._mark.renew(self._mine)
            else:
                return


def store_signed_in(
    provider: TokenProvider, storage: TokenStorage, clock: Clock, token: Token, lock_timeout: float
) -> None:
    """Store what a person's sign-in brought, in the place of whatever grant was there.

    Raises nothing: what cannot be stored now is tried again at each look.
    """
    names: dict[str, Any] = {"source": provider.service_name, "grant_key": provider.grant_key}
    shared = SharedToken(storage, provider.cache_key, clock, rotates=provider.rotates, **names)
    give: Callable[[Token | None], Token] = lambda _previous: token  # noqa: E731  # shorter than a function
    for _ in range(2):  # the first finds that the grant before was ended, and forgets it
        try:
            shared.renew(None, give, lambda _stored: False, lock_timeout=lock_timeout)
            return
        except AuthenticationError as error:
            failure = error
    logger.warning("the sign-in is kept in memory for now: %s [sign-in-unsaved]", failure)
    if provider.grant_key is not None:
        grant = SharedGrant(storage, provider.grant_key, ledger_of(storage), rotates=True, source=provider.service_name)
        grant.save(None, token)


def with_sign_in(
    error: AuthenticationError, provider: TokenProvider, storage: TokenStorage | None, clock: Clock
) -> AuthenticationError:
    """Return *error*; where a person is wanted and is being asked already, one that says so."""
    key = provider.grant_key
    if not isinstance(error, SignInRequiredError) or storage is None or key is None:
        return error
    if not SignInMark(storage, key, clock).is_set():
        return error
    message = f"{provider.service_name}: a person is being asked to sign in already; there is a token after that"
    return SignInRequiredError(message, step_name=error.step_name)
