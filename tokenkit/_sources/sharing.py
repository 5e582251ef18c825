"""Renewing one token for all who share a storage: take the lock, re-read, adopt or fetch, store.

Who waits for the lock reads now and then, and adopts without it. A pipeline does this for each step, and
:mod:`tokenkit.manager._source` for a manager's token. A storage in trouble is reported and done without: it never costs
a caller the token that the source would give.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import NamedTuple, final

from tokenkit._dataclasses import replace
from tokenkit._sources.exits import Spending
from tokenkit._sources.grants import SharedGrant, is_ended, settle
from tokenkit._sources.judging import is_newer, is_refused, newest
from tokenkit._sources.ledger import ledger_of
from tokenkit._sources.locking import under_lock
from tokenkit.clock import Clock
from tokenkit.contracts import TokenStorage
from tokenkit.errors import SignInRequiredError, TokenEndpointError, TokenKitError
from tokenkit.events import FailureFacts, facts_of
from tokenkit.tokens import Token

__all__ = ["Ask", "Renewed", "Report", "SharedToken"]

logger: logging.Logger = logging.getLogger("tokenkit.storage")

Ask = Callable[[Token | None], Token]
"""Asks the source: to refresh the given token, or for a first one where there is none."""
Report = Callable[[str, str, float, FailureFacts | None], None]
"""Told the name of a :class:`~tokenkit.events.TokenListener` method, a result, seconds, and the facts of a failure."""
_Judge = Callable[[Token], bool]
_STORE_TRIES = 3


class Renewed(NamedTuple):
    """A token, and where it stands."""

    token: Token
    adopted: bool
    """Whether it was found in the storage rather than fetched."""
    saved: bool = False
    """Whether the storage has it: one that is there later in its place came after it, whatever any clock says."""


@final
class SharedToken:
    """One key of a storage that several threads, processes or hosts renew together. Safe from any thread.

    Where its source has a grant, that is an entry of its own, whose lock is taken. The refresh token is read there, and
    written there before the access token, which is stored without it.

    Args:
        storage: Where the token is shared.
        key: Its key there.
        clock: Measures what is reported.
        source: The name of the fetcher or service; an error of another step is not ours to mend.
        report: Told what happened.
        grant_key: The key of the grant, of a source that has one; None: a refresh token stands beside the access token.
        rotates: Whether the server may replace a refresh token.
    """

    def __init__(
        self,
        storage: TokenStorage,
        key: str,
        clock: Clock,
        *,
        source: str,
        report: Report = lambda *_: None,
        grant_key: str | None = None,
        rotates: bool = True,
    ) -> None:
        self._storage = storage
        self._key = key
        self._now = clock.monotonic
        self._source = source
        self._report = report
        self._ledger = ledger_of(storage)
        self.grant_key = grant_key
        self._grant: SharedGrant | None = None
        if grant_key is not None:
            self._grant = SharedGrant(storage, grant_key, self._ledger, rotates=rotates, source=source)
        self._lock_key = key if grant_key is None else grant_key  # of what must not be spent twice

    def read(self) -> Token | None:
        """Return what is stored; None where there is nothing or the storage is in trouble."""
        settle(self._storage, self._lock_key, self._ledger)  # what could not be stored before
        try:
            stored = self._storage.get(self._key)
        except Exception as error:  # a user's storage may raise anything
            self._trouble("cache_refresh", "error", error, "read")
            return None
        self._works("read")
        return stored

    def renew(
        self,
        held: Token | None,
        ask: Ask,
        is_good: _Judge,
        *,
        lock_timeout: float | None,
        held_was_saved: bool = False,
        note_lock: Callable[[bool], None] = lambda _: None,
    ) -> Renewed:
        """Return a good token: one that another has stored meanwhile, else a new one, stored before it is returned.

        Args:
            held: The newest token that the caller knows of, good or not; its refresh token may be spent.
            ask: Asks the source.
            is_good: Judges a stored token.
            lock_timeout: Seconds to wait for the storage's lock, or for a good token, before going on without; None
                takes no lock.
            held_was_saved: Whether the storage had *held*: what it has now is as new, or newer.
            note_lock: Told True when the lock is held and False when it no longer is.

        Raises:
            AuthenticationError: The storage, which may have a newer refresh token, is in trouble; or somebody has ended
                the grant.
            Exception: What *ask* raised; nothing else.
        """

        def look() -> Renewed | None:
            began = self._now()
            stored = self.read()
            return self._adopted(stored, began) if stored is not None and is_good(stored) else None

        def renewed(lock_error: Exception | None) -> Renewed:
            began = self._now()
            stored = self.read()
            if stored is not None and is_good(stored):
                return self._adopted(stored, began)
            self._report("cache_refresh", "absent" if stored is None else "unchanged", self._now() - began, None)
            if self._grant is None:
                previous = self._previous(stored, held, held_was_saved)
                if previous is None or previous.refresh_token is None:
                    return self._asked(stored, previous, ask, is_good)
            else:
                previous = self._grant.newest(lock_error)
            spending = Spending()
            try:
                return self._asked(stored, previous, ask, is_good)
            finally:
                spending.end()

        def note(held: bool) -> None:
            note_lock(held)
            if held:
                self._works("lock")

        if lock_timeout is None:
            return renewed(None)
        return under_lock(
            self._storage,
            self._lock_key,
            lock_timeout,
            renewed,
            look=look,
            now=self._now,
            note=note,
            trouble=self._trouble,
        )

    def _adopted(self, stored: Token, began: float) -> Renewed:
        self._report("cache_refresh", "adopted", self._now() - began, None)
        return Renewed(stored, True, True)

    def _previous(self, stored: Token | None, held: Token | None, held_was_saved: bool) -> Token | None:
        """Return the token to refresh, with the newest refresh token that this process knows of."""
        if self._is_stale(stored) and held is not None and not self._is_stale(held):
            previous: Token | None = held
        else:
            previous = stored if stored is not None and held_was_saved else newest(stored, held)
        if previous is None or previous.refresh_token is None:
            return previous
        if stored is None and self._was_ended(previous.refresh_token):
            return replace(previous, refresh_token=None)
        return replace(previous, refresh_token=self._ledger.memory.newest(previous.refresh_token))

    def _is_stale(self, token: Token | None) -> bool:
        """Return whether *token*'s refresh token is one that this process has seen replaced."""
        return (
            token is not None and token.refresh_token is not None and self._ledger.memory.is_dead(token.refresh_token)
        )

    def _was_ended(self, refresh_token: str) -> bool:
        try:
            return is_ended(self._storage, self._key, refresh_token)
        except Exception as error:
            self._trouble("cache_refresh", "error", error, "read")
            return False

    def _asked(self, stored: Token | None, previous: Token | None, ask: Ask, is_good: _Judge) -> Renewed:
        try:
            return self._store(stored, previous, ask(previous), is_good)
        except (TokenEndpointError, SignInRequiredError) as error:
            if previous is None or not is_refused(previous, error, self._source):
                raise
            failure = error
        # The refresh token was refused. Somebody without our lock may have rotated it: theirs is worth a try before
        # the full grant, and only a token other than the refused one is.
        stored = self.read()
        if stored is not None and is_good(stored):
            return Renewed(stored, True, True)
        theirs = stored if self._grant is None else self._grant.newest(None)
        if theirs is not None and theirs.refresh_token not in (None, previous.refresh_token):
            try:
                return self._store(stored, theirs, ask(theirs), is_good)
            except (TokenEndpointError, SignInRequiredError) as error:
                if not is_refused(theirs, error, self._source):
                    raise
                failure = error
        if self._grant is not None:
            raise failure  # a refresh token is all that such a source has
        return self._store(stored, None, ask(None), is_good)

    def _store(self, expected: Token | None, spent: Token | None, token: Token, is_good: _Judge) -> Renewed:
        """Put *token* in the place of *expected*; one that another has put there since counts if it is newer."""
        if self._grant is not None:
            self._grant.save(spent, token)
            stored = self._put(expected, replace(token, refresh_token=None), is_good)
            return stored if stored.adopted else Renewed(token, False, stored.saved)
        if token.refresh_token is not None:
            if spent is not None and spent.refresh_token is not None:
                self._ledger.memory.replaced(spent.refresh_token, token.refresh_token)
            self._ledger.unsaved[self._key] = token
        renewed = self._put(expected, token, is_good)
        if renewed.saved and self._ledger.unsaved.get(self._key) is token:
            self._ledger.unsaved.pop(self._key, None)
        return renewed

    def _put(self, expected: Token | None, token: Token, is_good: _Judge) -> Renewed:
        began = self._now()
        try:
            for _ in range(_STORE_TRIES):
                if token == expected or self._storage.replace(self._key, expected, token):
                    self._works("write")
                    self._report("cache_store", "success", self._now() - began, None)
                    return Renewed(token, False, True)
                # Somebody wrote although we thought to be alone: our lease ran out (and no try of ours succeeds), we
                # went on without the lock, or they invalidated the token in whose place ours shall be.
                expected = self._storage.get(self._key)
                if expected is not None and is_newer(expected, token) and not self._is_stale(expected):
                    break
        except Exception as error:
            self._trouble("cache_store", "error", error, "write")
            return Renewed(token, False)
        self._report("cache_store", "conflict", self._now() - began, None)
        if expected is not None and is_good(expected) and is_newer(expected, token):
            return Renewed(expected, True, True)
        return Renewed(token, False)

    def _trouble(self, name: str, result: str, error: Exception, what: str = "lock") -> None:
        # A storage's own errors are clean; of any other only the type is certain to hold no secret.
        said = str(error) if isinstance(error, TokenKitError) else type(error).__name__
        level = logging.WARNING if self._ledger.fails(what) else logging.DEBUG  # the first of a row
        kind = type(self._storage).__name__
        logger.log(
            level,
            "the token storage failed and is done without, for %s (%s): %s [storage-failed]",
            self._source,
            kind,
            said,
        )
        self._report(name, result, 0.0, facts_of(error))

    def _works(self, what: str) -> None:
        if self._ledger.works(what):
            logger.warning("the token storage works again, for %s [storage-failed]", self._source)
