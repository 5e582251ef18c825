"""A manager's source of tokens: its provider, and the storage that it shares the token through.

How a token is shared is in :mod:`tokenkit._sources.sharing`; when to ask is the engine's affair.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from datetime import timedelta
from typing import final

from tokenkit._secrecy.causes import as_token_error
from tokenkit._sources.calling import checked
from tokenkit._sources.grants import is_replaced, settle, take_out, warn_of_loss
from tokenkit._sources.judging import is_newer, is_refused, lock_patience
from tokenkit._sources.ledger import ledger_of
from tokenkit._sources.sharing import Renewed, SharedToken
from tokenkit._sources.signing_in import with_sign_in
from tokenkit.clock import Clock
from tokenkit.contracts import FetchContext, TokenProvider, TokenStorage, takes_context
from tokenkit.errors import AuthenticationError, TokenEndpointError
from tokenkit.events import facts_of
from tokenkit.manager._attempts import Run
from tokenkit.manager._credentials import Credentials, Shown
from tokenkit.policy import RefreshPolicy
from tokenkit.tokens import Token

__all__ = ["SharedSource"]


@final
class SharedSource:
    """A manager's provider, and the storage that it shares the token through, if any. Safe from any thread.

    The end of the interpreter waits for a :meth:`renew` that has sent a refresh token until its answer is stored, at
    most 10 s: see :mod:`tokenkit._sources.exits`.
    """

    def __init__(
        self,
        provider: TokenProvider,
        storage: TokenStorage | None,
        policy: RefreshPolicy,
        clock: Clock,
    ) -> None:
        self._provider = provider
        self._storage = storage
        self._policy = policy
        self._clock = clock
        self._saved: Token | None = None  # what the storage is known to have had last; one reference, replaced whole
        self._credentials = Credentials(provider)
        self._has_warned = False  # of a refresh token that no storage keeps
        self._fetch_takes_context = takes_context(provider.fetch_token)
        self._refresh_takes_context = takes_context(provider.refresh_token, 1)

    def renew(self, run: Run) -> None:
        """Write into *run* a token to take the place of the one known, and not the one rejected, or why there is none.

        What the listeners are to hear is left in *run*, for when it has landed.

        Raises:
            BaseException: What interrupted a caller who leads, in the provider or the storage.
        """
        outer = sys.exc_info()[1]  # of a caller who leads while handling an error of his own
        shown = Shown(None, None)
        try:
            shown = self._credentials.shown()
            renewed = self._renewed(run)
            self._credentials.note_success(shown)
            run.ahead = run.ahead and not (renewed.adopted and self._may_be_anothers)
            run.token, run.adopted = renewed.token, renewed.adopted
        except Exception as error:
            storage = None if run.request.skips_storage else self._storage
            run.error = with_sign_in(as_token_error(error, outer), self._provider, storage, self._clock)
            run.mendable = self._credentials.note_failure(shown, is_final=not run.error.transient)
        except BaseException as error:  # KeyboardInterrupt while a caller leads: his alone
            run.error = AuthenticationError(f"the renewal was cut short by {type(error).__name__}", transient=True)
            run.cut_short = True
            if not run.background:
                raise
        finally:
            run.has_unsaved = self._has_unsaved()

    def _renewed(self, run: Run) -> Renewed:
        if self._storage is None or run.request.skips_storage:
            # Asked before: the answer is not to be lost to a grant that cannot be read.
            may_lose = self._storage is None and self._provider.rotates and not self._has_warned
            grant = self._provider.grant_key if may_lose else None
            token = self._alone(run)
            if grant is not None and is_replaced(grant, run.known, token):
                self._has_warned = True
                warn_of_loss(self._provider.service_name)
            return Renewed(token, False)

        shared = self._shared(self._storage, run)
        try:
            return self._renewed_shared(shared, run)
        except AuthenticationError:
            again = self._shared(self._storage, run)
            if again.grant_key == shared.grant_key:
                raise
        # Another refresh token was given meanwhile, as by a person who has signed in again.
        return self._renewed_shared(again, run)

    def _renewed_shared(self, shared: SharedToken, run: Run) -> Renewed:
        def ask(previous: Token | None) -> Token:
            run.inside_storage = False
            try:
                return self._ask(run, previous, shared.grant_key)
            finally:
                run.inside_storage = True

        def note_lock(held: bool) -> None:
            run.holds_lock = held

        run.inside_storage = True  # until it lands, but for the source's time
        renewed = shared.renew(
            run.known,
            ask,
            lambda stored: run.request.adopts and self._is_better(stored, run),
            lock_timeout=None if run.request.skips_lock else self._patience(run, run.known or shared.read()),
            held_was_saved=run.known is not None and run.known is self._saved,
            note_lock=note_lock,
        )
        if renewed.saved:
            self._saved = renewed.token
        return renewed

    def _patience(self, run: Run, known: Token | None) -> float:
        """Return how long to wait for the lock, by the provider and the token held or, at a cold start, stored."""
        left = run.deadline - self._clock.monotonic()
        spends = self._provider.spends_refresh_token or (known is not None and known.refresh_token is not None)
        return lock_patience(self._policy.seconds("lock_timeout"), left, spends)

    def _alone(self, run: Run) -> Token:
        try:
            return self._ask(run, run.known)
        except TokenEndpointError as error:
            owns_grant = self._provider.grant_key is not None
            if run.known is None or owns_grant or not is_refused(run.known, error, self._provider.service_name):
                raise
        return self._ask(run, None)

    def look(self, run: Run) -> None:
        """Write into *run* a better token that another has stored, or whether there is a reason to ask the provider."""
        run.adopted = True
        run.ahead = run.ahead and not self._may_be_anothers
        if self._storage is not None:
            began, shown = self._clock.monotonic(), self._credentials.shown()
            stored = self._shared(self._storage, run).read()
            if stored is not None and self._is_better(stored, run):
                run.token = self._saved = stored
                self._credentials.note_success(shown)
            result = "adopted" if run.token else "absent" if stored is None else "unchanged"
            run.report("cache_refresh", result, self._clock.monotonic() - began)
        run.has_unsaved = self._has_unsaved()
        if run.token is None:
            run.outdates = self._credentials.has_new_certificate()
            run.mended = self._credentials.has_new_secret()

    @property
    def _may_be_anothers(self) -> bool:
        """Whether what is found in the storage may be of another person, who has signed in elsewhere."""
        return self._provider.grant_key is not None

    def _has_unsaved(self) -> bool:
        """Whether a refresh token that came here could not be stored yet."""
        if self._storage is None:
            return False
        unsaved = ledger_of(self._storage).unsaved
        return bool(unsaved) and self._owner() in unsaved

    def close(self, *, keep_storage: bool = False) -> None:
        """Store what could not be stored before, and close the storage, unless others use it."""
        if self._storage is not None:
            try:
                if self._has_unsaved():
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

    def _shared(self, storage: TokenStorage, run: Run) -> SharedToken:
        return SharedToken(
            storage,
            self._provider.cache_key,
            self._clock,
            source=self._provider.service_name,
            report=run.report,
            grant_key=self._provider.grant_key,
            rotates=self._provider.rotates,
        )

    def _is_better(self, stored: Token, run: Run) -> bool:
        if run.rejected is not None and stored.access_token == run.rejected.access_token:
            return False
        now, known = self._clock.now(), run.known
        if known is not None and not is_newer(stored, known):
            # By its own date ours is still to be issued: the clock was stepped back since, and what stands in its
            # place came after it.
            was_stepped = known.issued_at is not None and known.issued_at > now
            is_next = run.request.asks and known is self._saved and stored.access_token != known.access_token
            if not (was_stepped and is_next):
                return False
        return self._policy.is_usable(stored, now)

    def _ask(self, run: Run, previous: Token | None, grant_key: str | None = None) -> Token:
        began = self._clock.monotonic()
        result, failure = "error", None
        try:
            token: object = self._called(run, previous, grant_key)
            if isinstance(token, Token):
                run.token = token  # not lost from here on, should what follows be interrupted, or hang
            if isinstance(token, Token) and self._expired_on_its_way(run, token, began):
                token = self._called(run, token, grant_key)  # its refresh token, if any, is the one to spend
            run.token = token = checked(token, self._provider.service_name, self._clock.now())
            result = "success"
            return token
        except Exception as error:
            run.token = None  # it was no good
            failure = facts_of(error)
            raise
        finally:
            run.report("token_acquire", result, self._clock.monotonic() - began, failure)

    def _expired_on_its_way(self, run: Run, token: Token, began: float) -> bool:
        """Return whether *token* took longer to come than it lives, as where the host starves threads."""
        moment, now = self._clock.monotonic(), self._clock.now()
        was_good = not token.is_expired(now - timedelta(seconds=moment - began))
        return was_good and token.is_expired(now) and moment < run.deadline  # else another attempt is under way

    def _called(self, run: Run, previous: Token | None, grant_key: str | None) -> Token:
        provider, now = self._provider, self._clock.monotonic()
        if run.is_late(now):  # what it would spend, its successor has spent
            raise AuthenticationError(f"no time was left to ask {provider.service_name}", transient=True)
        context = FetchContext(
            timeout=run.deadline - now,
            clock=self._clock,
            forced=run.request.forced,
            max_retry_timeout=self._policy.seconds("max_retry_timeout"),
            challenge=run.challenge,
            grant_key=grant_key,
        )
        if previous is None:
            return provider.fetch_token(context) if self._fetch_takes_context else provider.fetch_token()
        if self._refresh_takes_context:
            return provider.refresh_token(previous, context)
        return provider.refresh_token(previous)
