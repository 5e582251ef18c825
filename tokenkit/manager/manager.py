"""The token manager: what users hold, ask for tokens, and close.

It puts together a source, a storage, a policy and listeners. The lock, the waiting and the thread are in
:mod:`tokenkit.manager._engine`; sharing through a storage is in :mod:`tokenkit.manager._source`.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable, Iterable, Mapping
from datetime import timedelta
from functools import partial
from typing import Any, final

from tokenkit._checks import seconds
from tokenkit._secrecy.pickling import check_picklable
from tokenkit._sources.calling import FetcherProvider
from tokenkit.clock import Clock, SystemClock
from tokenkit.contracts import Challenge, TokenFetcher, TokenPipeline, TokenProvider, TokenStorage
from tokenkit.errors import TokenKitError
from tokenkit.events import Announcer, TokenListener
from tokenkit.manager._arguments import check_parts, checked_retries, optional, time_limits
from tokenkit.manager._engine import Engine
from tokenkit.manager._sign_in import signed_in
from tokenkit.manager._source import SharedSource
from tokenkit.manager._state import Rejection
from tokenkit.manager.status import ManagerStatus
from tokenkit.options import FetchOptions
from tokenkit.policy import RefreshPolicy
from tokenkit.tokens import Token

__all__ = ["TokenManager", "TokenReceiver"]

logger: logging.Logger = logging.getLogger("tokenkit.manager")


@final
class TokenManager:
    """Keeps a token ready: renewed ahead of expiry by a daemon thread, fetched once however many threads wait.

    Safe from any thread and after a fork: the child keeps the token and gets locks and a thread of its own. Nothing is
    fetched and no thread is started before the first call that needs it. Pickling and deep-copying carry the
    configuration, never a token.

    Args:
        source: Where tokens come from: a provider, one fetcher, or a pipeline, whose last step names the token.
        storage: Where the token is shared with other processes or hosts. None: in this manager's memory alone.
        policy: When to renew and how long to back off.
        listeners: Who hears what happens.
        background: Renew on a daemon thread. False: a caller who finds no usable token fetches it itself, so that
            its time limit holds as far as the source keeps to the time that it is given.
        clock: What time it is; the system's unless a test says otherwise.

    Raises:
        ConfigurationError: An argument is of the wrong type, or the source has no name.

    Example:
        >>> from tokenkit.fetchers import ClientCredentialsFetcher
        >>> from tokenkit.testing import LocalIdP
        >>> with LocalIdP() as idp:
        ...     source = ClientCredentialsFetcher(
        ...         token_url=idp.token_url, client_id="client", client_secret="secret"
        ...     )
        ...     with TokenManager(source) as manager:
        ...         manager.get_token() is manager.get_token()  # one fetch
        True
    """

    def __init__(
        self,
        source: TokenProvider | TokenFetcher | TokenPipeline,
        storage: TokenStorage | None = None,
        *,
        policy: RefreshPolicy = RefreshPolicy(),  # noqa: B008  # frozen
        listeners: Iterable[TokenListener] = (),
        background: bool = True,
        clock: Clock = SystemClock(),  # noqa: B008  # it has no state
    ) -> None:
        asked = source.as_provider() if isinstance(source, TokenPipeline) else source
        provider = FetcherProvider(asked, clock) if isinstance(asked, TokenFetcher) else asked
        check_parts(provider, storage, policy, clock)
        self._source = source
        self._provider = provider
        self._storage = storage
        self._policy = policy
        self._background = background
        self._clock = clock
        self._announcer = Announcer(provider.service_name, listeners)
        self._shared = SharedSource(provider, storage, policy, clock)
        name = provider.service_name
        self._engine = Engine(self._shared, policy, clock, self._announcer, name=name, background=background)
        # What the hot path reads:
        self._holding = self._engine.state
        self._monotonic = clock.monotonic
        self._may_be_idle = policy.idle_after is not None
        self._hears_hits = self._announcer.hears_hits

    @property
    def source(self) -> TokenProvider | TokenFetcher | TokenPipeline:
        """What was given as the source."""
        return self._source

    @property
    def current(self) -> Token | None:
        """The token held, expired or not; None if there is none. No I/O, no waiting."""
        snapshot = self._holding.snapshot
        return None if snapshot is None else snapshot.token

    def get_token(
        self, timeout: float | timedelta | None = None, options: FetchOptions | Mapping[str, str] | None = None
    ) -> Token:
        """Return a token that is valid now, renewing it first if need be.

        When several threads find no valid token, one attempt serves them all, and its failure is shared in the same
        way. A token that is merely due is returned at once and renewed behind the call.

        Args:
            timeout: Seconds to wait for a renewal. None waits as long as an attempt may run; 0 never waits.
            options: How to treat this one call.

        Returns:
            A snapshot, valid for this request; ask again for the next one.

        Raises:
            AuthenticationError: The source gave no token, now or so lately that it is not asked again yet.
            RenewalTimeoutError: The renewal outlived *timeout*; it goes on behind this call.
            RenewalStoppedError: :meth:`stop` was called before or during the wait.
            RenewalError: Too many renewals hang.
            ConfigurationError: An argument is of the wrong type or negative.
            RuntimeError: The source called this from within its own fetch.
        """
        if options is None and (token := self.fresh_token()) is not None:
            return token
        options = FetchOptions.of(options)
        return self._engine.acquire(*time_limits(timeout, options, self._policy), options)

    def fresh_token(self) -> Token | None:
        """Return the token held while it is fresh, None where :meth:`get_token` would do more. No lock, no waiting."""
        snapshot = self._holding.snapshot
        if snapshot is None or (now := self._monotonic()) >= snapshot.due_at:
            return None
        if self._may_be_idle:
            self._holding.used_at = now
        if self._hears_hits:
            self._announcer.tell("cache_hit", "fresh")
        return snapshot.token

    def force_refresh(self, timeout: float | timedelta | None = None) -> Token:
        """Return a token that the source is asked for after this call began, back-off or not.

        Callers who come before that attempt has begun share it. From the storage it takes the newest refresh token
        only, never a token that another process has put there. The *timeout* and what is raised are those of
        :meth:`get_token`.
        """
        options = FetchOptions(renew_required=True, renew_synchronous=True)
        return self._engine.acquire(*time_limits(timeout, options, self._policy), options, forced=True)

    def access_token(self, force_refresh: bool = False) -> str:
        """Return the bare text of a valid token, for clients that are not ``requests`` and take a function.

        It blocks and raises as :meth:`get_token` does without a limit of its own.

        Args:
            force_refresh: Have another one fetched first, as :meth:`force_refresh` does.
        """
        return (self.force_refresh() if force_refresh else self.get_token()).access_token

    def request_renewal(self, invalidate: bool = False) -> None:
        """Ask the thread to renew as soon as the back-off allows, and return at once.

        Args:
            invalidate: Give up the current token first, so that callers wait for the new one.
        """
        if invalidate:
            self.invalidate_token()
        self._engine.request()

    def invalidate_token(self, rejected: Token | None = None, challenge: Challenge | None = None) -> None:
        """Forget the current token; callers wait for another one.

        What a storage holds stays there, for its refresh token's sake, and is never adopted again by this manager.

        Args:
            rejected: Forget it only if it is this very one. None: whichever it is.
            challenge: What the resource said of it; the source finds that in its context, in the attempt that follows.
                None: nothing. Of several callers who report one token, the first is heard.

        Raises:
            ConfigurationError: An argument is of the wrong type.
        """
        token = optional("rejected", rejected, Token)
        self._engine.invalidate(Rejection(token, counted=False, challenge=optional("challenge", challenge, Challenge)))

    def renew_rejected(
        self,
        rejected: Token,
        timeout: float | timedelta | None = None,
        *,
        was_accepted: bool = False,
        challenge: Challenge | None = None,
        earlier: Challenge | None = None,
    ) -> Token | None:
        """Return another token in place of one that a resource rejected, or None if it must not cost a renewal yet.

        A hundred threads with the same rejected token cost one renewal; one that comes late gets the token that has
        taken its place. A resource that rejects every token is told None for ``min_renewal_interval`` after each
        renewal that it caused, and for twice as long after the next.

        Args:
            rejected: The very token that was sent.
            timeout: As of :meth:`get_token`, as is all that is raised.
            was_accepted: The same resource has accepted this token before, so that it must have been revoked: the
                interval does not apply.
            challenge: As of :meth:`invalidate_token`.
            earlier: What the resource said when it rejected the token before this one, of the same request. Where it
                wanted something and the source was not told, because another caller was first, the interval does not
                apply, once. None: it is the first.
        """
        rejection = Rejection(
            optional("rejected", rejected, Token),
            counted=True,
            trusted=was_accepted,
            challenge=optional("challenge", challenge, Challenge),
            earlier=optional("earlier", earlier, Challenge),
        )
        if not self._engine.invalidate(rejection):
            return None
        return self.get_token(timeout)

    @property
    def holds_fresh_token(self) -> bool:
        """Whether :meth:`get_token` would return at once and start no renewal. No lock: a hint."""
        return (held := self._holding.snapshot) is not None and self._monotonic() < held.due_at

    @property
    def weighs_answers(self) -> bool:
        """Whether it matters which resource takes the token held. No lock: a hint.

        While some resource rejects tokens too young to be bad; while the token is so young that its rejection costs a
        renewal only if it was taken before; and while a resource may not have learnt yet of a token renewed ahead of
        expiry.
        """
        until = self._holding.weigh_until
        if until is not None and self._monotonic() < until:
            return True
        self._holding.weigh_until = None  # no clock is read from now on, until the next token
        return self._holding.limit.is_throttling

    def predecessor_of(self, rejected: Token) -> Token | None:
        """Return the token that *rejected* replaced less than 10 s ago, where a resource may take that one still.

        Only one that was replaced because it was due: never one that was rejected, invalidated, forced out, or
        replaced by a sign-in. No I/O, no waiting.
        """
        return self._holding.predecessor.of(rejected, self._monotonic())

    @property
    def _is_busy(self) -> bool:
        """Whether a caller waits for a token, or a renewal is under way. No lock: a hint."""
        return self._engine.is_busy

    def is_renewal_required(self) -> bool:
        """Return whether there is no usable token, or a renewal is requested. No I/O, no waiting."""
        return self._holding.is_wanted(self._monotonic())

    def status(self) -> ManagerStatus:
        """Return what a health page may show: state, seconds left, counts, the last failure's facts; no secret.

        No I/O, no waiting, and nothing is renewed for it. Counts are of this process, and go on over a fork.
        """
        return self._engine.status()

    def receiver(self, max_retries: int | None = None) -> TokenReceiver:
        """Return a receiver for one request.

        Args:
            max_retries: How often it may try again. None: the policy's ``max_retries``; 0: never.
        """
        return TokenReceiver(self, checked_retries(max_retries, self._policy))

    def stop(self) -> None:
        """Renew no more and wake every waiter with an error. A token held stays usable until it expires.

        Not from a signal handler, where it may wait for ever: set an event there, or raise ``SystemExit``.
        """
        self._engine.stop()

    def sign_in(self, show: Callable[[Any], object] | None = None, timeout: float | timedelta = 300.0) -> Token:
        """Ask a person to sign in, in this thread, and hold and store what comes of it; return the token.

        One person is asked once: where another program that shares the storage asks already, this waits, and takes what
        that brings. While a person is asked, other calls of this manager go on as before.

        Args:
            show: Called with a :class:`~tokenkit.fetchers.oauth2.SignInPrompt`. None: it is written to standard error,
                and a browser is opened where there is one.
            timeout: Seconds that the person has, more than 0; 300 unless given.

        Raises:
            ConfigurationError: The source is no :class:`~tokenkit.fetchers.oauth2.SignedInFetcher`, or an argument is
                wrong.
            SignInRequiredError: The person did not come in time, or said no.
            AuthenticationError: The server refused, or cannot be reached.
        """
        token = signed_in(
            self._source,
            self._provider,
            self._storage,
            self._clock,
            show=show,
            timeout=seconds("timeout", timeout, zero=False, infinite=False),
            lock_timeout=self._policy.seconds("lock_timeout"),
        )
        if token is None:  # another program's person has signed in
            return self.get_token(options=FetchOptions(renew_synchronous=True))
        self._engine.take(token)
        return token

    def close(self, grace: float | timedelta | None = None, *, revoke: bool = False) -> None:
        """Stop, wait for a renewal under way, and close the source and the storage. Closing twice is harmless.

        Not from a signal handler, as :meth:`stop`.

        Args:
            grace: Seconds to wait for the thread. None: as long as an attempt may run; 0: not at all.
            revoke: Have the source revoke the token (RFC 7009), of a pipeline each step's, and take what was revoked
                out of the storage. A failure is logged.
        """
        self._leave(None if grace is None else seconds("grace", grace, zero=True, infinite=True), revoke=revoke)

    def _leave(self, grace: float | None, *, revoke: bool = False, keep_storage: bool = False) -> None:
        """Do what :meth:`close` does, but for the storage where others use it."""
        self.stop()
        self._engine.join(self._policy.seconds("refresh_request_timeout") if grace is None else grace)
        if revoke:
            _quietly("revoke the token", self._revoke)
        _quietly("close the source", self._source.close)
        _quietly("close the storage", partial(self._shared.close, keep_storage=keep_storage))

    def _revoke(self) -> bool:
        """Do what ``close(revoke=True)`` does first, and raise what fails; return whether the source can do it."""
        revoker = getattr(self._source, "revoke", None)
        if revoker is not None:
            self._shared.revoke(revoker, self.current)
        return revoker is not None

    def _shares_storage(self, other: TokenManager) -> bool:
        """Return whether *other* has the same storage."""
        return self._storage is not None and self._storage is other._storage

    def __enter__(self) -> TokenManager:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<TokenManager {self._provider.service_name} {self.current or 'without a token'}>"

    def __reduce__(self) -> tuple[Any, ...]:
        check_picklable(self._source)
        parts, options = self._configuration()
        return partial(TokenManager, **options), parts

    def __deepcopy__(self, memo: dict[int, Any]) -> TokenManager:
        parts, options = copy.deepcopy(self._configuration(), memo)
        return TokenManager(*parts, **options)

    def _configuration(self) -> tuple[tuple[Any, ...], dict[str, Any]]:
        options = {"policy": self._policy, "background": self._background, "clock": self._clock}
        return (self._source, self._storage), {**options, "listeners": self._announcer.listeners}


@final
class TokenReceiver:
    """One request's dealings with a manager. For one thread; make one for each request. A pickle of it has no token.

    Args:
        manager: Whose token is wanted.
        max_retries: How often :meth:`can_retry` may say yes.
    """

    def __init__(self, manager: TokenManager, max_retries: int) -> None:
        self._manager = manager
        self._max_retries = max_retries
        self._retries = 0
        self._latest: Token | None = None

    @property
    def latest(self) -> Token | None:
        """The token that :meth:`fetch` returned last, or None."""
        return self._latest

    def fetch(
        self, timeout: float | timedelta | None = None, options: FetchOptions | Mapping[str, str] | None = None
    ) -> Token:
        """Return a token for the request's next try; see :meth:`TokenManager.get_token`."""
        self._latest = self._manager.get_token(timeout, options)
        return self._latest

    def can_retry(
        self, err: BaseException | None = None, options: FetchOptions | Mapping[str, str] | None = None
    ) -> bool:
        """Return whether another :meth:`fetch` and try may help, and count it.

        Unless *err* is about getting a token, the resource has rejected :attr:`latest`, which is given up: the next
        fetch returns another one.

        Args:
            err: What went wrong; None stands for a rejection, as any error does that is none of ours.
            options: Its ``max_retries`` goes before the receiver's.
        """
        asked = FetchOptions.of(options).max_retries
        if self._retries >= (self._max_retries if asked is None else asked):
            return False
        self._retries += 1
        if isinstance(err, TokenKitError):
            return err.transient
        return self._latest is not None and self._manager._engine.invalidate(Rejection(self._latest, counted=True))

    def __reduce__(self) -> tuple[type[TokenReceiver], tuple[TokenManager, int]]:
        return TokenReceiver, (self._manager, self._max_retries)


def _quietly(what: str, action: Callable[[], object]) -> None:
    try:
        action()
    except Exception as error:  # a user's code; closing goes on
        logger.warning("could not %s: %s [close-failed]", what, type(error).__name__)
