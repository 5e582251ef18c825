"""A grant in a storage: the newest refresh token of all who share it, an entry of its own beside their access tokens.

A refresh token is the one thing that cannot be fetched again: somebody must sign in. So here, and only here, a storage
in trouble is not done without: what cannot be read may be newer than what this process was given.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from datetime import datetime, timedelta, timezone
from typing import Any, Final, final

from tokenkit._dataclasses import replace
from tokenkit._secrecy.identity import digest_of
from tokenkit._secrecy.identity import grant_key as first_key
from tokenkit._sources.ledger import Ledger, ledger_of
from tokenkit.contracts import TokenStorage
from tokenkit.errors import (
    AuthenticationError,
    SignInRequiredError,
    StorageError,
    StorageLockTimeoutError,
    TokenKitError,
)
from tokenkit.tokens import Token

__all__ = ["SharedGrant", "is_ended", "is_replaced", "settle", "take_out", "warn_of_loss"]

logger: logging.Logger = logging.getLogger("tokenkit.storage")

_NO_TOKEN: Final = "-"  # a grant's entry has no access token, and has always expired
_LIFETIMES: Final = ("refresh_expires_in", "refresh_token_expires_in", "x_refresh_token_expires_in")
_MARK_LIFETIME: Final = timedelta(days=1)
_STORE_TRIES: Final = 3
_LONG_AGO: Final = datetime(2000, 1, 1, tzinfo=timezone.utc)


@final
class SharedGrant:
    """The entry of one grant. Safe from any thread; the storage's lock on *key* is whoever's that renews by it.

    Args:
        storage: Where the grant is shared.
        key: Its key there.
        ledger: What this process knows of it.
        rotates: Whether the server may replace a refresh token.
        source: The name of the fetcher or service, for errors.
    """

    def __init__(self, storage: TokenStorage, key: str, ledger: Ledger, *, rotates: bool, source: str) -> None:
        self._storage = storage
        self.key = key
        self._ledger = ledger
        self._rotates = rotates
        self._source = source
        self._stored: Token | None = None  # as read last, in whose place the next one is put

    def newest(self, lock_error: Exception | None) -> Token | None:
        """Return the entry with the refresh token to spend next; None where only the configured one is known.

        To be called under the lock.

        Args:
            lock_error: Why the lock is not held; None: it is, or need not be.

        Raises:
            AuthenticationError: There may be a newer one that cannot be read now; transient.
            SignInRequiredError: The grant was ended elsewhere.
        """
        known = self._ledger.current.get(self.key)
        try:
            if isinstance(lock_error, StorageLockTimeoutError):
                raise lock_error  # its holder may be spending what is there
            # Any other failure of the lock: where nothing can be written, what is there can be read all the same.
            self._stored = self._storage.get_strict(self.key)
            # The first refresh token has no mark of its own, but what is absent after a revocation is gone for all.
            is_over = self._stored is None and is_ended(self._storage, self.key, known)
        except Exception as error:  # a user's storage may raise anything
            if known is None and self._rotates:
                raise self._unreadable(error) from None
            return None if known is None else _entry(known)
        if is_over:
            self._ledger.current.pop(self.key, None)
            self._ledger.unsaved.pop(self.key, None)
            message = f"the sign-in of {self._source} was ended: a person must sign in again"
            raise SignInRequiredError(message, step_name=self._source)
        if self._stored is None or self._stored.refresh_token is None:
            return None if known is None else _entry(known)
        newest = self._ledger.memory.newest(self._stored.refresh_token) or self._stored.refresh_token
        return replace(self._stored, refresh_token=newest)

    def save(self, spent: Token | None, token: Token) -> bool:
        """Put *token*'s refresh token in the place of the one read; return whether it is there, or a later one."""
        if token.refresh_token is None:
            return True
        if spent is not None and spent.refresh_token is not None:
            self._ledger.memory.replaced(spent.refresh_token, token.refresh_token)
        self._ledger.current[self.key] = token.refresh_token
        may_lose = self._rotates and not self._storage.outlives_process
        if may_lose and self.key not in self._ledger.told and is_replaced(self.key, spent, token):
            self._ledger.told.add(self.key)
            warn_of_loss(self._source)
        was_unsaved = self.key in self._ledger.unsaved
        self._ledger.unsaved[self.key] = _entry(token.refresh_token, token.issued_at, token.scope, token.extra)
        if settle(self._storage, self.key, self._ledger):
            return True
        if not was_unsaved:
            logger.warning(
                "the refresh token of %s could not be stored, which is tried again; should this program end before,"
                " its next start may need a person to sign in [grant-unsaved]",
                self._source,
            )
        return False

    def _unreadable(self, error: Exception) -> AuthenticationError:
        said = str(error) if isinstance(error, TokenKitError) else type(error).__name__
        return AuthenticationError(
            f"the refresh token of {self._source} is not spent while the storage, which may have a newer one, cannot be"
            f" {'locked' if isinstance(error, StorageLockTimeoutError) else 'read'}: {said}",
            step_name=self._source,
            transient=True,
        )


def is_replaced(key: str, spent: Token | None, token: Token) -> bool:
    """Return whether *token* has another refresh token than *spent*, or than the given one whose grant is *key*."""
    if token.refresh_token is None:
        return False
    if spent is None or spent.refresh_token is None:
        return first_key(token.refresh_token) != key
    return spent.refresh_token != token.refresh_token


def warn_of_loss(source: str) -> None:
    """Say that a new refresh token of *source* ends with this process, and what to pass against that."""
    logger.warning(
        "the new refresh token of %s is kept in memory alone, so that the next start of this program needs a person to"
        " sign in: pass a storage that outlives it, such as FileTokenStorage, or, to a fetcher whose server never"
        " replaces a refresh token, rotates=False [grant-in-memory]",
        source,
    )


def settle(storage: TokenStorage, key: str, ledger: Ledger) -> bool:
    """Store what this process has for *key* and could not store; return whether nothing is left to be stored.

    Raises nothing: a storage in trouble is tried again another time.
    """
    token = ledger.unsaved.get(key)
    if token is None:
        return True
    try:
        for _ in range(_STORE_TRIES):
            stored = storage.get(key)
            if _is_later(stored, token, ledger) or (stored is None and is_ended(storage, key, token.refresh_token)):
                break  # another one's: a person has signed in again, or out
            if stored == token or storage.replace(key, stored, token):
                break
        else:
            return False
    except Exception as error:
        said = str(error) if isinstance(error, TokenKitError) else type(error).__name__
        logger.debug("a refresh token could not be stored yet: %s", said)  # the first failure was a warning
        return False
    if ledger.unsaved.get(key) is token:
        del ledger.unsaved[key]
    return True


def take_out(
    storage: TokenStorage,
    key: str,
    grant_key: str | None,
    held: Token | None,
    revoke: Callable[[Token | str], None],
    now: datetime,
    *,
    lock_timeout: float = 30.0,
) -> None:
    """Revoke what *storage* and the caller have of a token, take it out, and leave a mark that tells others to drop it.

    Under the storage's lock, so that a renewal under way does not put another one there afterwards.

    Args:
        storage: Where it is shared.
        key: Of the access token.
        grant_key: Of the grant; None: the refresh token stands beside the access token.
        held: What the caller has; None: nothing.
        revoke: Tells the server; asked with a refresh token alone where there is no access token.
        now: The mark is kept for a day from then.
        lock_timeout: Seconds to wait for the lock before going on without; a renewal may take 30 s.

    Raises:
        Exception: What *revoke* raised: then nothing is taken out.
        StorageError: The storage failed.
    """
    owner = grant_key or key
    with ExitStack() as locked:
        try:
            locked.enter_context(storage.lock(owner, lock_timeout))
        except StorageError as error:
            logger.warning("a token is taken out of the storage without its lock: %s [storage-failed]", error)
        stored = storage.get(key)
        entry = stored if grant_key is None else storage.get(grant_key)
        token = held or stored
        refresh_token = (entry and entry.refresh_token) or (token and token.refresh_token)
        if token is not None:
            revoke(replace(token, refresh_token=refresh_token))
        elif refresh_token is not None:
            revoke(refresh_token)
        digests = _digests(refresh_token, held and held.refresh_token)
        if digests:
            facts = {"ended": digests, "grant": grant_key is not None}
            mark = Token(_NO_TOKEN, issued_at=now, expires_at=now + _MARK_LIFETIME, extra=facts)
            storage.set(_mark_key(owner), mark)
        if entry is not None:
            storage.delete_if_equal(owner, entry)
        if stored is not None:
            storage.delete_if_equal(key, stored)
        ledger = ledger_of(storage)
        ledger.current.pop(owner, None)
        ledger.unsaved.pop(owner, None)


def _digests(*refresh_tokens: str | None) -> list[str]:
    return sorted({digest_of(one) for one in refresh_tokens if one})


def is_ended(storage: TokenStorage, key: str, refresh_token: str | None) -> bool:
    """Return whether *refresh_token* was taken out of the entry *key*, or the grant *key* was ended, within a day.

    Args:
        storage: Where it was.
        key: Its key there, of an entry that is absent.
        refresh_token: What the caller holds; None: what was given to it first.
    """
    mark = storage.get(_mark_key(key))
    if mark is None:
        return False
    if refresh_token is None:
        return bool(mark.extra.get("grant"))
    return digest_of(refresh_token) in mark.extra.get("ended", ())


def _mark_key(key: str) -> str:
    return f"ended:{key}"


def _entry(
    refresh_token: str | None,
    issued_at: datetime | None = None,
    scope: str | None = None,
    extra: Mapping[str, Any] | None = None,
) -> Token:
    lifetimes = {name: extra[name] for name in _LIFETIMES if name in extra} if extra else {}
    return Token(
        _NO_TOKEN,
        issued_at=issued_at,
        expires_at=_LONG_AGO,
        refresh_token=refresh_token,
        scope=scope,
        extra=lifetimes,
    )


def _is_later(stored: Token | None, token: Token, ledger: Ledger) -> bool:
    """Return whether *stored* has a refresh token of which this process knows nothing."""
    if stored is None or stored.refresh_token is None or stored.refresh_token == token.refresh_token:
        return False
    return not ledger.memory.is_dead(stored.refresh_token)
