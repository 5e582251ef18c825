"""A manager's source of tokens: its provider, and the storage that it shares the token through.

How a token is shared is in :mod:`tokenkit._sources.sharing`; when to ask is the engine's affair.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from datetime import timedelta
from typing import Protocol, final

from tokenkit._secrecy.causes import as_token_error
from tokenkit._sources.calling import checked
from tokenkit._sources.grants import is_replaced, settle, take_out, warn_of_loss
from tokenkit._sources.judging import is_newer, is_refused, lock_patience
from tokenkit._sources.ledger import ledger_of
from tokenkit._sources.sharing import Renewed, SharedToken
from tokenkit._sources.signing_in import with_sign_in
from tokenkit.clock import Clock
from tokenkit.contracts import Challenge, FetchContext, TokenProvider, TokenStorage, takes_context
from tokenkit.errors import AuthenticationError, TokenEndpointError
from tokenkit.events import Announcer
from tokenkit.manager._credentials import Credentials, Shown
from tokenkit.manager._reports import Reports
from tokenkit.policy import RefreshPolicy
from tokenkit.tokens import Token

__all__ = ["Renewing", "SharedSource"]


class Renewing(Protocol):
    """What a source must know of the attempt that asks it, and what it writes into it."""

    ahead: bool
    background: bool
    challenge: Challenge | None
    deadline: float
    forced: bool
    adopts: bool
    skips_lock: bool
    skips_storage: bool
    # Written while it runs:
    holds_lock: bool
    inside_storage: bool
    reports: Reports
    # What came of it:
    token: Token | None
    adopted: bool
    error: AuthenticationError | None
    cut_short: bool
    mendable: bool

    def is_late(self, now: float) -> bool:
        """Return whether it may not ask the provider any more."""


@final
class SharedSource:
    """A manager's provider, and the storage that it shares the token through, if any. Safe from any thread.

    The end of the interpreter waits for a :meth:`run` that has sent a refresh token until its answer is stored, at most
    10 s: see :mod:`tokenkit._sources.exits`. Where :attr:`has_unsaved`, the engine looks again soon.
    """

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
        self._saved: Token | None = None  # what the storage is known to have had last; one reference, replaced whole
        self.credentials = Credentials(provider)
        self._has_warned = False  # of a refresh token that no storage keeps
        self._fetch_takes_context = takes_context(provider.fetch_token)
        self._refresh_takes_context = takes_context(provider.refresh_token, 1)

    def run(self, attempt: Renewing, known: Token | None, rejected: Token | None) -> None:
        """Write into *attempt* a token to take the place of *known*, and not *rejected*, or why there is none.

        What the listeners are to hear is left in *attempt*, for when it has landed.

        Raises:
            BaseException: What interrupted a caller who leads, in the provider or the storage.
        """
        outer = sys.exc_info()[1]  # of a caller who leads while handling an error of his own
        shown = Shown(None, None)
        try:
            shown = self.credentials.shown()
            renewed = self._renew(attempt, known, rejected)
            self.credentials.note_success(shown)
            attempt.ahead = attempt.ahead and not (renewed.adopted and self.may_be_anothers)
            attempt.token, attempt.adopted = renewed.token, renewed.adopted
        except Exception as error:
            storage = None if attempt.skips_storage else self._storage
            attempt.error = with_sign_in(as_token_error(error, outer), self._provider, storage, self._clock)
            attempt.mendable = self.credentials.note_failure(shown, is_final=not attempt.error.transient)
        except BaseException as error:  # KeyboardInterrupt while a caller leads: his alone
            attempt.error = AuthenticationError(f"the renewal was cut short by {type(error).__name__}", transient=True)
            attempt.cut_short = True
            if not attempt.background:
                raise

    def _renew(self, attempt: Renewing, known: Token | None, rejected: Token | None) -> Renewed:
        if self._storage is None or attempt.skips_storage:
            # Asked before: the answer is not to be lost to a grant that cannot be read.
            may_lose = self._storage is None and self._provider.rotates and not self._has_warned
            grant = self._provider.grant_key if may_lose else None
            token = self._alone(attempt, known)
            if grant is not None and is_replaced(grant, known, token):
                self._has_warned = True
                warn_of_loss(self._provider.service_name)
            return Renewed(token, False)

        shared = self._shared(self._storage, attempt.reports)
        try:
            return self._renew_shared(shared, attempt, known, rejected)
        except AuthenticationError:
            again = self._shared(self._storage, attempt.reports)
            if again.grant_key == shared.grant_key:
                raise
        # Another refresh token was given meanwhile, as by a person who has signed in again.
        return self._renew_shared(again, attempt, known, rejected)

    def _renew_shared(
        self, shared: SharedToken, attempt: Renewing, known: Token | None, rejected: Token | None
    ) -> Renewed:
        def ask(previous: Token | None) -> Token:
            attempt.inside_storage = False
            try:
                return self._ask(attempt, previous, shared.grant_key)
            finally:
                attempt.inside_storage = True

        def note_lock(held: bool) -> None:
            attempt.holds_lock = held

        attempt.inside_storage = True  # until it lands, but for the source's time
        renewed = shared.renew(
            known,
            ask,
            lambda stored: attempt.adopts and self._is_better(stored, known, rejected),
            lock_timeout=None if attempt.skips_lock else self._patience(attempt, known or shared.read()),
            held_was_saved=known is not None and known is self._saved,
            note_lock=note_lock,
        )
        if renewed.saved:
            self._saved = renewed.token
        return renewed

    def _patience(self, attempt: Renewing, known: Token | None) -> float:
        """Return how long to wait for the lock, by the provider and the token held or, at a cold start, stored."""
        left = attempt.deadline - self._clock.monotonic()
        spends = self._provider.spends_refresh_token or (known is not None and known.refresh_token is not None)
        return lock_patience(self._policy.seconds("lock_timeout"), left, spends)

    def _alone(self, attempt: Renewing, known: Token | None) -> Token:
        try:
            return self._ask(attempt, known)
        except TokenEndpointError as error:
            has_more = known is not None and self._provider.grant_key is None
            if known is None or not (has_more and is_refused(known, error, self._provider.service_name)):
                raise
        return self._ask(attempt, None)

    def look(self, known: Token | None, rejected: Token | None) -> Token | None:
        """Return a better token that another has stored, or None; never ask the provider."""
        if self._storage is None:
            return None
        began = self._clock.monotonic()
        reports = Reports()
        stored = self._shared(self._storage, reports).read()
        found = stored is not None and self._is_better(stored, known, rejected)
        result = "adopted" if found else "absent" if stored is None else "unchanged"
        reports.tell("cache_refresh", result, self._clock.monotonic() - began)
        for name, word, seconds, failure in reports.all:
            self._announcer.tell(name, word, seconds, background=True, reason="adopted", failure=failure)
        if not found:
            return None
        self._saved = stored
        return stored

    @property
    def may_be_anothers(self) -> bool:
        """Whether what is found in the storage may be of another person, who has signed in elsewhere."""
        return self._provider.grant_key is not None

    @property
    def has_unsaved(self) -> bool:
        """Whether a refresh token that came here could not be stored yet: the next :meth:`look`, soon, tries again."""
        if self._storage is None:
            return False
        unsaved = ledger_of(self._storage).unsaved
        return bool(unsaved) and self._owner() in unsaved

    def close(self, *, keep_storage: bool = False) -> None:
        """Store what could not be stored before, and close the storage, unless others use it."""
        if self._storage is not None:
            try:
                if self.has_unsaved:
                    settle(self._storage, self._owner(), ledger_of(self._storage))
            finally:
                if not keep_storage:
                    self._storage.close()

    def revoke(self, revoke: Callable[..., None], held: Token | None) -> None:
        """Revoke the token, and take what was revoked out of the storage, so that no other process goes on with it.

        Args:
            revoke: Tells the server.
            held: What the manager has; the storage's, too, is revoked.

        Raises:
            Exception: What *revoke* or the storage raised.
        """
        provider, now = self._provider, self._clock.now()
        if provider.keeps_tokens or (self._storage is None and held is not None):
            revoke(held)
        if self._storage is None:
            return
        tell: Callable[..., None] = (lambda _token: None) if provider.keeps_tokens else revoke  # told just now
        patience = self._policy.seconds("lock_timeout")
        take_out(self._storage, provider.cache_key, provider.grant_key, held, tell, now, lock_timeout=patience)

    def _owner(self) -> str:
        """Return the key of the entry that has the refresh token."""
        return self._provider.grant_key or self._provider.cache_key

    def _shared(self, storage: TokenStorage, reports: Reports) -> SharedToken:
        name = self._provider.service_name
        return SharedToken(
            storage,
            self._provider.cache_key,
            self._clock,
            source=name,
            report=reports.tell,
            note_failure=reports.fail,
            grant_key=self._provider.grant_key,
            rotates=self._provider.rotates,
        )

    def _is_better(self, stored: Token, known: Token | None, rejected: Token | None) -> bool:
        if rejected is not None and stored.access_token == rejected.access_token:
            return False
        is_new = known is None or is_newer(stored, known)
        return is_new and self._policy.is_usable(stored, self._clock.now())

    def _ask(self, attempt: Renewing, previous: Token | None, grant_key: str | None = None) -> Token:
        began = self._clock.monotonic()
        result = "error"
        try:
            token: object = self._called(attempt, previous, grant_key)
            if isinstance(token, Token):
                attempt.token = token  # not lost from here on, should what follows be interrupted, or hang
            if isinstance(token, Token) and self._expired_on_its_way(attempt, token, began):
                token = self._called(attempt, token, grant_key)  # its refresh token, if any, is the one to spend
            attempt.token = token = checked(token, self._provider.service_name, self._clock.now())
            result = "success"
            return token
        except Exception as error:
            attempt.token = None  # it was no good
            attempt.reports.fail(error)
            raise
        finally:
            attempt.reports.tell("token_acquire", result, self._clock.monotonic() - began)

    def _expired_on_its_way(self, attempt: Renewing, token: Token, began: float) -> bool:
        """Return whether *token* took longer to come than it lives, as where the host starves threads."""
        moment, now = self._clock.monotonic(), self._clock.now()
        was_good = not token.is_expired(now - timedelta(seconds=moment - began))
        return was_good and token.is_expired(now) and moment < attempt.deadline  # else another attempt is under way

    def _called(self, attempt: Renewing, previous: Token | None, grant_key: str | None) -> Token:
        provider, now = self._provider, self._clock.monotonic()
        if attempt.is_late(now):  # what it would spend, its successor has spent
            raise AuthenticationError(f"no time was left to ask {provider.service_name}", transient=True)
        left = attempt.deadline - now
        pause = self._policy.seconds("max_retry_timeout")
        context = FetchContext(
            timeout=left,
            clock=self._clock,
            forced=attempt.forced,
            max_retry_timeout=pause,
            challenge=attempt.challenge,
            grant_key=grant_key,
        )
        if previous is None:
            return provider.fetch_token(context) if self._fetch_takes_context else provider.fetch_token()
        if self._refresh_takes_context:
            return provider.refresh_token(previous, context)
        return provider.refresh_token(previous)
