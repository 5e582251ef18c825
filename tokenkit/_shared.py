"""Renewing one token for all who share a storage: take the lock, re-read, adopt or fetch, store.

The pipeline does this for each step and the manager for its token. A storage in trouble is reported and done without:
it never costs a caller the token that the source would give.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import NamedTuple, Protocol, final

from tokenkit._asking import checked, wall_time
from tokenkit.clock import Clock
from tokenkit.contracts import FetchContext, TokenProvider, TokenStorage, takes_context
from tokenkit.errors import StorageLockTimeoutError, TokenEndpointError, TokenKitError
from tokenkit.events import Announcer
from tokenkit.policy import RefreshPolicy
from tokenkit.tokens import Token

__all__ = ["Renewed", "SharedSource", "SharedToken", "is_newer"]

logger = logging.getLogger(__name__)

Ask = Callable[[Token | None], Token]
"""Asks the source: to refresh the given token, or for a first one where there is none."""
_Judge = Callable[[Token], bool]
_STORE_TRIES = 3


class Renewed(NamedTuple):
    """A token, and whether it was found in the storage rather than fetched."""

    token: Token
    adopted: bool


@final
class SharedToken:
    """One key of a storage that several threads, processes or hosts renew together. Safe from any thread.

    Args:
        storage: Where the token is shared.
        key: Its key there.
        clock: Measures what is reported.
        source: The name of the fetcher or service; an error of another step is not ours to mend.
        report: Called with the name of a :class:`~tokenkit.events.TokenListener` method, a result and seconds.
    """

    def __init__(
        self,
        storage: TokenStorage,
        key: str,
        clock: Clock,
        *,
        source: str,
        report: Callable[[str, str, float], None] = lambda *_: None,
    ) -> None:
        self._storage = storage
        self._key = key
        self._now = clock.monotonic
        self._source = source
        self._report = report

    def read(self) -> Token | None:
        """Return what is stored; None where there is nothing or the storage is in trouble."""
        try:
            return self._storage.get(self._key)
        except Exception as error:  # a user's storage may raise anything
            self._trouble("cache_refresh", "error", error)
            return None

    def renew(
        self,
        held: Token | None,
        ask: Ask,
        is_good: _Judge,
        *,
        lock_timeout: float | None,
        note_lock: Callable[[bool], None] = lambda _: None,
    ) -> Renewed:
        """Return a good token: one that another has stored meanwhile, else a new one, stored before it is returned.

        Args:
            held: The newest token that the caller knows of, good or not; its refresh token may be spent.
            ask: Asks the source.
            is_good: Judges a stored token.
            lock_timeout: Seconds to wait for the storage's lock before going on without; None takes no lock.
            note_lock: Told True when the lock is held and False when it no longer is.

        Raises:
            Exception: What *ask* raised; nothing else.
        """
        began = self._now()
        with self._lock(lock_timeout, note_lock):
            stored = self.read()
            if stored is not None and is_good(stored):
                self._report("cache_refresh", "adopted", self._now() - began)
                return Renewed(stored, True)
            self._report("cache_refresh", "absent" if stored is None else "unchanged", self._now() - began)
            return self._asked(stored, _newest(stored, held), ask, is_good)

    def _asked(self, stored: Token | None, previous: Token | None, ask: Ask, is_good: _Judge) -> Renewed:
        try:
            return self._store(stored, ask(previous), is_good)
        except TokenEndpointError as error:
            if previous is None or not _is_spent(previous, error, self._source):
                raise
        # The refresh token was refused. Somebody without our lock may have rotated it: theirs is worth a try before
        # the full grant, and only a token other than the refused one is.
        stored = self.read()
        if stored is not None and is_good(stored):
            return Renewed(stored, True)
        if stored is not None and stored.refresh_token not in (None, previous.refresh_token):
            try:
                return self._store(stored, ask(stored), is_good)
            except TokenEndpointError as error:
                if not _is_spent(stored, error, self._source):
                    raise
        return self._store(stored, ask(None), is_good)

    def _store(self, expected: Token | None, token: Token, is_good: _Judge) -> Renewed:
        """Put *token* in the place of *expected*; one that another has put there since counts if it is newer."""
        began = self._now()
        try:
            for _ in range(_STORE_TRIES):
                if token == expected or self._storage.replace(self._key, expected, token):
                    self._report("cache_store", "success", self._now() - began)
                    return Renewed(token, False)
                # Somebody wrote although we thought to be alone: our lease ran out (and no try of ours succeeds), we
                # went on without the lock, or they invalidated the token in whose place ours shall be.
                expected = self._storage.get(self._key)
                if expected is not None and is_newer(expected, token):
                    break
        except Exception as error:
            self._trouble("cache_store", "error", error)
            return Renewed(token, False)
        self._report("cache_store", "conflict", self._now() - began)
        if expected is not None and is_good(expected) and is_newer(expected, token):
            return Renewed(expected, True)
        return Renewed(token, False)

    @contextmanager
    def _lock(self, timeout: float | None, note: Callable[[bool], None]) -> Iterator[None]:
        """Hold the storage's lock if it is to be had in time; in any case go on."""
        lock = None if timeout is None else self._entered(timeout)
        note(lock is not None)
        try:
            yield
        finally:
            note(False)
            if lock is not None:
                try:
                    lock.__exit__(None, None, None)
                except Exception as error:
                    self._trouble("cache_refresh", "error", error)

    def _entered(self, timeout: float) -> AbstractContextManager[None] | None:
        try:
            lock = self._storage.lock(self._key, timeout)
            lock.__enter__()
        except StorageLockTimeoutError as error:
            self._trouble("cache_refresh", "lock_timeout", error)
        except Exception as error:
            self._trouble("cache_refresh", "error", error)
        else:
            return lock
        return None

    def _trouble(self, name: str, result: str, error: Exception) -> None:
        # A storage's own errors are clean; of any other only the type is certain to hold no secret.
        said = str(error) if isinstance(error, TokenKitError) else type(error).__name__
        logger.warning("the token storage failed and is done without: %s", said)
        self._report(name, result, 0.0)


class Renewing(Protocol):
    """What a source must know of the attempt that asks it."""

    background: bool
    deadline: float
    skips_lock: bool
    holds_lock: bool


@final
class SharedSource:
    """A manager's provider, and the storage that it shares the token through, if any. Safe from any thread."""

    def __init__(
        self,
        provider: TokenProvider,
        storage: TokenStorage | None,
        policy: RefreshPolicy,
        clock: Clock,
        announcer: Announcer,
    ) -> None:
        self._provider = provider
        self._storage = storage
        self._policy = policy
        self._clock = clock
        self._announcer = announcer
        self._fetch_takes_context = takes_context(provider.fetch_token)
        self._refresh_takes_context = takes_context(provider.refresh_token, 1)

    def renew(self, attempt: Renewing, known: Token | None, rejected: Token | None) -> Renewed:
        """Return a token to take the place of *known*, and not *rejected*; raise what the provider raised."""

        def ask(previous: Token | None) -> Token:
            return self._ask(attempt, previous)

        def note_lock(held: bool) -> None:
            attempt.holds_lock = held

        if self._storage is None:
            return Renewed(self._alone(ask, known), False)
        left = max(0.0, attempt.deadline - self._clock.monotonic())
        return self._shared(self._storage, attempt.background).renew(
            known,
            ask,
            lambda stored: self._is_better(stored, known, rejected),
            lock_timeout=None if attempt.skips_lock else min(self._policy.seconds("lock_timeout"), left),
            note_lock=note_lock,
        )

    def _alone(self, ask: Ask, known: Token | None) -> Token:
        try:
            return ask(known)
        except TokenEndpointError as error:
            if known is None or not _is_spent(known, error, self._provider.service_name):
                raise
        return ask(None)

    def look(self, known: Token | None, rejected: Token | None) -> Token | None:
        """Return a better token that another has stored, or None; never ask the provider."""
        if self._storage is None:
            return None
        began = self._clock.monotonic()
        stored = self._shared(self._storage, True).read()
        found = stored is not None and self._is_better(stored, known, rejected)
        result = "adopted" if found else "absent" if stored is None else "unchanged"
        self._announcer.tell("cache_refresh", result, self._clock.monotonic() - began, background=True)
        return stored if found else None

    def _shared(self, storage: TokenStorage, background: bool) -> SharedToken:
        def report(name: str, result: str, seconds: float) -> None:
            self._announcer.tell(name, result, seconds, background=background)

        name = self._provider.service_name
        return SharedToken(storage, self._provider.cache_key, self._clock, source=name, report=report)

    def _is_better(self, stored: Token, known: Token | None, rejected: Token | None) -> bool:
        if rejected is not None and stored.access_token == rejected.access_token:
            return False
        is_new = known is None or is_newer(stored, known)
        return is_new and self._policy.is_usable(stored, wall_time(self._clock))

    def _ask(self, attempt: Renewing, previous: Token | None) -> Token:
        began = self._clock.monotonic()
        result = "error"
        try:
            token = self._call(previous, FetchContext(timeout=max(0.0, attempt.deadline - began)))
            token = checked(token, self._provider.service_name, wall_time(self._clock))
            result = "success"
            return token
        finally:
            took = self._clock.monotonic() - began
            self._announcer.tell("token_acquire", result, took, background=attempt.background)

    def _call(self, previous: Token | None, context: FetchContext) -> Token:
        provider = self._provider
        if previous is None:
            return provider.fetch_token(context) if self._fetch_takes_context else provider.fetch_token()
        if self._refresh_takes_context:
            return provider.refresh_token(previous, context)
        return provider.refresh_token(previous)


def is_newer(one: Token, other: Token) -> bool:
    """Return whether *one* was issued, or failing that expires, later than *other*."""
    if one.issued_at is not None and other.issued_at is not None and one.issued_at != other.issued_at:
        return one.issued_at > other.issued_at
    if one.expires_at is None or other.expires_at is None:
        return one.access_token != other.access_token
    return one.expires_at > other.expires_at


def _is_spent(asked_with: Token, error: TokenEndpointError, source: str) -> bool:
    """Return whether *error* says that the refresh token *source* was asked with is no longer good."""
    is_ours = error.step_name in (None, source)
    return is_ours and error.grant_refused and asked_with.refresh_token is not None


def _newest(stored: Token | None, held: Token | None) -> Token | None:
    if stored is None or held is None:
        return stored or held
    # Where neither says when it was issued, the stored one counts: a spent refresh token must not be shown again.
    return held if is_newer(held, stored) and not is_newer(stored, held) else stored
