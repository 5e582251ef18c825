"""One execution of a pipeline, by one thread: what it has got so far, and what it does not trust.

Each step's token is taken from the cache if it is good there. If not, it is fetched with the tokens that it depends on,
which are found in the same way. How a step's token is shared with others is in :mod:`tokenkit._sources.sharing`.
"""

from __future__ import annotations

import logging
import math
import sys
from collections.abc import Callable, Mapping
from functools import partial
from typing import final

from tokenkit._dataclasses import dataclass
from tokenkit._secrecy.causes import as_token_error
from tokenkit._sources.calling import as_token
from tokenkit._sources.judging import lock_patience
from tokenkit._sources.sharing import Report, SharedToken
from tokenkit.clock import Clock
from tokenkit.contracts import FetchContext, TokenFetcher, TokenStorage
from tokenkit.errors import AuthenticationError, TokenEndpointError, own_copy
from tokenkit.pipeline._single_flight import SingleFlight
from tokenkit.pipeline._steps import upstream_of, with_dependents
from tokenkit.policy import RefreshPolicy
from tokenkit.tokens import Token

__all__ = ["Execution", "StepStore"]

logger: logging.Logger = logging.getLogger("tokenkit.pipeline")

_UPSTREAM_REFUSALS = (401, 403)
# How a server says that the token to exchange, or an assertion, is no good (RFC 8693 section 2.2.2, RFC 7521 4.1.1).
_UPSTREAM_WORDS = ("invalid_request", "invalid_grant", "invalid_token")
_UPSTREAM_ROUNDS = 3  # how often a dependency that has expired meanwhile is fetched anew


@final
@dataclass(frozen=True)
class StepStore:
    """What the threads and processes that run the steps of one pipeline share.

    Args:
        storage: Keeps the tokens, and has the locks under which they are renewed.
        keys: The storage's key of each step, by name. Read once, so that one execution locks, reads and writes one key.
        flights: Single flight inside this process, used while the storage's lock cannot be taken.
    """

    storage: TokenStorage
    keys: Mapping[str, str]
    flights: SingleFlight


@final
class Execution:
    """Gets tokens of steps, each at most once while it is good. For one thread and one call.

    Args:
        steps: By name, in order.
        places: Where the tokens are shared.
        clock: Judges expiry and the deadline.
        policy: Which cached token is still usable, and how long to wait for a step's lock.
        deadline: On the monotonic clock; no step is begun after it.
        asked: What the caller wants; each step's context says so, too.
    """

    def __init__(
        self,
        steps: Mapping[str, TokenFetcher],
        places: StepStore,
        clock: Clock,
        policy: RefreshPolicy,
        deadline: float,
        asked: FetchContext,
    ) -> None:
        self._steps = steps
        self._places = places
        self._clock = clock
        self._policy = policy
        self._deadline = deadline
        self._asked = asked
        self._got: dict[str, Token] = {}
        self._read: dict[str, Token] = {}  # what the storage had last, good or not
        self._cached: set[str] = set()  # of those, the ones that this run did not fetch itself
        self._distrusted: dict[str, Token] = {}  # not to be taken again, by step
        self._grants: dict[str, str | None] = {}  # the key of the grant that is shared, as read last, by step

    def distrust(self, name: str, token: Token | None = None) -> None:
        """Take no token of step *name* that is *token* or older; None: the one it has, or else the cached one."""
        got = self._got.pop(name, None)
        token = token or got or self._shared(self._steps[name]).read()
        if token is not None:
            self._distrusted[name] = token

    def token(self, step: TokenFetcher) -> Token:
        """Return the step's token: the one this run has, else the cached one, else a new one."""
        token = self._got.get(step.name)
        if token is None or token.is_expired(self._clock.now()):
            token = self._cached_token(step) or self._renewed_token(step)
            self._got[step.name] = token
        return token

    def _cached_token(self, step: TokenFetcher) -> Token | None:
        token = self._shared(step).read()
        if token is None:
            return None
        self._read[step.name] = token
        if not self._is_good(step, token):
            return None
        self._cached.add(step.name)
        return token

    def _renewed_token(self, step: TokenFetcher) -> Token:
        patience, is_locked, is_taken = self._patience(step), False, False

        def note_lock(held: bool) -> None:
            nonlocal is_locked
            is_locked = held

        def note(_name: str, result: str, *_: object) -> None:
            nonlocal is_taken
            is_taken = is_taken or result == "lock_timeout"

        def ask(previous: Token | None) -> Token:
            if is_locked:
                return self._healed(step, previous)
            return self._places.flights.join(
                self._places.keys[step.name],
                lambda: self._unlocked(step, previous, is_good, is_taken=is_taken),
                is_good,
                patience=self._patience(step),  # of the time that waiting for the lock has left
            )

        def is_good(other: Token) -> bool:
            return self._is_good(step, other)

        renewed = self._shared(step, note).renew(
            self._distrusted.get(step.name), ask, is_good, lock_timeout=patience, note_lock=note_lock
        )
        (self._cached.add if renewed.adopted else self._cached.discard)(step.name)
        return renewed.token

    def _unlocked(
        self, step: TokenFetcher, previous: Token | None, is_good: Callable[[Token], bool], *, is_taken: bool
    ) -> Token:
        """Fetch the step without its lock, which another has held for longer than we wait.

        The other may be healthy: it holds the lock of the last step while it fetches all steps before it. It fetched
        each of those before us, so when we have them too, it will soon be done with this step: we wait for it once
        more.
        """
        if not is_taken or not step.depends_on:
            return self._healed(step, previous)
        self._upstream(step)
        known = self._distrusted.get(step.name)
        ask = partial(self._healed, step)
        return self._shared(step).renew(known, ask, is_good, lock_timeout=self._patience(step)).token

    def _patience(self, step: TokenFetcher) -> float:
        known = (self._distrusted.get(step.name), self._read.get(step.name))
        holds = any(token is not None and token.refresh_token is not None for token in known)
        lock_timeout = self._policy.seconds("lock_timeout")
        attempt = max(lock_timeout, self._policy.seconds("refresh_request_timeout"))  # a call may have no limit
        return lock_patience(lock_timeout, min(attempt, self._left(step)), holds or step.spends_refresh_token)

    def _healed(self, step: TokenFetcher, previous: Token | None) -> Token:
        """Fetch the step; where its upstream was refused and came from the cache, once more with a new one."""
        try:
            return self._fetched(step, previous)
        except TokenEndpointError as error:
            suspects = [name for name in step.depends_on if name in self._cached]
            if not suspects or not _blames_upstream(error, step, previous):
                raise
        logger.info("step %s was refused; its cached dependencies are fetched anew", step.name)
        upstream = upstream_of(step.name, self._steps)
        for name in with_dependents(suspects, self._steps):
            if name in upstream:
                self.distrust(name)
        return self._fetched(step, previous)

    def _fetched(self, step: TokenFetcher, previous: Token | None) -> Token:
        context = FetchContext(
            self._upstream(step),
            timeout=self._limit(step),
            clock=self._clock,
            forced=self._asked.forced,
            max_retry_timeout=self._asked.max_retry_timeout,
            challenge=self._asked.challenge,
            grant_key=self._grants.get(step.name),
        )
        outer = sys.exc_info()[1]
        try:
            return as_token(step, previous, context, self._clock.now())
        except Exception as error:
            shared = as_token_error(error, outer)
            cause = shared if shared is error else shared.__cause__
        told = own_copy(shared)
        told.step_name = step.name
        # Raised out here: an error that may hold a credential, and so is no cause, is not its context either.
        raise told from cause

    def _upstream(self, step: TokenFetcher) -> dict[str, Token]:
        tokens: dict[str, Token] = {}
        for _ in range(_UPSTREAM_ROUNDS):
            tokens = {name: self.token(self._steps[name]) for name in step.depends_on}
            if all(self._still_has(name, token) for name, token in tokens.items()):
                break  # else one expired, or was replaced by a healing, while another was fetched
        return tokens

    def _still_has(self, name: str, token: Token) -> bool:
        return self._got.get(name) is token and not token.is_expired(self._clock.now())

    def _shared(self, step: TokenFetcher, report: Report = lambda *_: None) -> SharedToken:
        grant_key = self._grants[step.name] = step.grant_key
        return SharedToken(
            self._places.storage,
            self._places.keys[step.name],
            self._clock,
            source=step.name,
            report=report,
            grant_key=grant_key,
            rotates=step.rotates,
        )

    def _is_good(self, step: TokenFetcher, token: Token) -> bool:
        distrusted = self._distrusted.get(step.name)
        if distrusted is not None and (token.access_token == distrusted.access_token or _precedes(token, distrusted)):
            return False
        return self._policy.is_usable(token, self._clock.now())

    def _limit(self, step: TokenFetcher) -> float | None:
        left = self._left(step)
        return None if left == math.inf else left

    def _left(self, step: TokenFetcher) -> float:
        left = self._deadline - self._clock.monotonic()
        if left <= 0:
            raise AuthenticationError(f"the time was over before step {step.name}", step_name=step.name, transient=True)
        return left


def _blames_upstream(error: TokenEndpointError, step: TokenFetcher, previous: Token | None) -> bool:
    if error.step_name != step.name or error.transient or error.error in ("invalid_client", "invalid_scope"):
        return False  # a step before it failed, or it failed for another reason
    if error.status not in _UPSTREAM_REFUSALS and not (error.status in (200, 400) and error.error in _UPSTREAM_WORDS):
        return False
    if error.error == "invalid_grant" and error.grant_type == "password":
        return False  # it is the password that is wrong, and a second try may lock the account
    # A refused refresh token must not be shown again, whatever status some endpoints say it with.
    spends = previous is not None and previous.refresh_token is not None
    return not spends or (error.error != "invalid_grant" and error.grant_type != "refresh_token")


def _precedes(one: Token, other: Token) -> bool:
    """Return whether *one* is certainly the older, as where a failing storage still has what was rejected before."""
    return one.issued_at is not None and other.issued_at is not None and one.issued_at < other.issued_at
