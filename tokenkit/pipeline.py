"""Several tokens in a row: each step fetched with the tokens it depends on, and cached for its own time.

Evaluation is by need, from the last step back. How one step's token is shared and stored is left to
:mod:`tokenkit._shared`.
"""

from __future__ import annotations

import hashlib
import logging
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import final

from tokenkit._asking import as_token, as_token_error, wall_time
from tokenkit._shared import SharedToken
from tokenkit._steps import in_order
from tokenkit.clock import Clock, SystemClock
from tokenkit.contracts import FetchContext, TokenFetcher, TokenProvider, TokenStorage
from tokenkit.errors import AuthenticationError, ConfigurationError, TokenEndpointError, own_copy
from tokenkit.policy import RefreshPolicy
from tokenkit.tokens import Token

__all__ = ["PipelineTokenProvider", "TokenFetchPipeline"]

logger = logging.getLogger(__name__)

_UPSTREAM_REFUSALS = (401, 403)
_UPSTREAM_ROUNDS = 3  # how often what expired meanwhile is fetched anew, before a step makes do


@final
class TokenFetchPipeline:
    """Fetches the token of its last step, and for it only what is missing of the steps before.

    Safe from any number of threads and, with a shared storage, from any number of processes and hosts: while one
    fetches a step the others wait for its lock and then read the result. It keeps no token itself.

    Args:
        steps: Fetchers, each after those it depends on; the last one's token is the pipeline's.
        storage: Where each step's token is cached, under its ``cache_key``.
        cache_key_prefix: Put before each key with a colon; empty: the key stands alone.
        validate_dependencies: Check the steps here. False: at the first :meth:`execute`.
        clock: Judges expiry; the system's unless a test says otherwise.
        lock_timeout: Seconds to wait for another who fetches a step, before fetching it too.

    Raises:
        ConfigurationError: There is no step, or a dependency is unknown, late or circular, or a name comes twice. It
            is a ``ValueError`` and names the steps.
    """

    def __init__(
        self,
        steps: Iterable[TokenFetcher],
        storage: TokenStorage,
        cache_key_prefix: str = "",
        validate_dependencies: bool = True,
        *,
        clock: Clock = SystemClock(),  # noqa: B008  # it has no state
        lock_timeout: float = 10.0,
    ) -> None:
        self._steps = tuple(steps)
        self._storage = storage
        self._prefix = cache_key_prefix
        self._clock = clock
        self._lock_timeout = lock_timeout
        self._policy = RefreshPolicy()
        self._by_name: Mapping[str, TokenFetcher] = {}
        self._checked = False
        if validate_dependencies:
            self._check()

    @property
    def step_names(self) -> tuple[str, ...]:
        """The steps' names, in their order."""
        return tuple(step.name for step in self._steps)

    @property
    def cache_key(self) -> str:
        """What tells this pipeline's token from another's: a digest of its prefix and its steps' keys."""
        parts = (self._prefix, *(step.cache_key for step in self._steps))
        canonical = "".join(f"{len(part)}:{part}" for part in parts)
        return hashlib.sha256(canonical.encode()).hexdigest()[:16]

    def get_step(self, name: str) -> TokenFetcher | None:
        """Return the step called *name*, or None."""
        return next((step for step in self._steps if step.name == name), None)

    def execute(self, force_refresh: bool = False, timeout: float | None = None) -> Token:
        """Return the last step's token, fetching what is not cached or no longer valid.

        Blocks while a step is fetched, here or by another who shares the storage.

        Args:
            force_refresh: Fetch every step anew; one that another fetched since this call began counts.
            timeout: Seconds for the whole, told to each step in its context. None: no limit of ours.

        Raises:
            AuthenticationError: A step failed; ``step_name`` names it. Tokens of earlier steps stay cached.
            ConfigurationError: The steps are wrong and were not checked before.
        """
        return self._execute(self.step_names if force_refresh else (), None, timeout)

    def renew(self, current: Token, from_step: str | None = None, timeout: float | None = None) -> Token:
        """Return a token other than *current*, the last step's that was held.

        Args:
            current: What must not come back; another valid token in the cache is taken as it is.
            from_step: Fetch this step and its dependents anew, and nothing else. None: the last step alone.
            timeout: As of :meth:`execute`.

        Raises:
            AuthenticationError: As of :meth:`execute`.
            KeyError: There is no step *from_step*.
        """
        return self._execute(self._with_dependents(from_step or self.step_names[-1]), current, timeout)

    def invalidate_step(self, name: str) -> None:
        """Make the cached token of step *name*, and of all that depend on it, count as no good.

        A refresh token among them is kept, since it may be the only one.

        Raises:
            KeyError: There is no such step.
        """
        for one in self._with_dependents(name):
            self._invalidate(self._by_name[one])

    def invalidate_all(self) -> None:
        """Make every cached token count as no good, as :meth:`invalidate_step` does."""
        self._check()
        for step in self._steps:
            self._invalidate(step)

    def close(self) -> None:
        """Close the steps and the storage."""
        for step in self._steps:
            step.close()
        self._storage.close()

    def _execute(self, stale: Sequence[str], current: Token | None, timeout: float | None) -> Token:
        self._check()
        deadline = math.inf if timeout is None else self._clock.monotonic() + timeout
        run = _Run(self, deadline)
        for name in stale:
            run.distrust(name)
        if current is not None:
            run.distrust(self.step_names[-1], current)
        return run.token(self._steps[-1])

    def _key(self, step: TokenFetcher) -> str:
        return f"{self._prefix}:{step.cache_key}" if self._prefix else step.cache_key

    def _shared(self, step: TokenFetcher) -> SharedToken:
        return SharedToken(self._storage, self._key(step), self._clock, source=step.name)

    def _invalidate(self, step: TokenFetcher) -> None:
        token = self._storage.get(self._key(step))
        if token is None:
            return
        if token.refresh_token is None:
            self._storage.delete_if_equal(self._key(step), token)
        else:
            expired = replace(token, expires_at=token.issued_at or wall_time(self._clock))
            self._storage.replace(self._key(step), token, expired)

    def _with_dependents(self, name: str) -> tuple[str, ...]:
        self._check()
        if name not in self._by_name:
            raise KeyError(f"no step {name!r} among {', '.join(self.step_names)}")
        found = {name}
        for step in self._steps:  # in order, so that one pass finds what depends on what depends on it
            if found.intersection(step.depends_on):
                found.add(step.name)
        return tuple(one for one in self.step_names if one in found)

    def _check(self) -> None:
        if not self._checked:
            self._by_name = in_order(self._steps)
            self._checked = True


@final
class _Run:
    """One execution, by one thread: what it has got so far and what it does not trust."""

    def __init__(self, pipeline: TokenFetchPipeline, deadline: float) -> None:
        self._pipeline = pipeline
        self._clock = pipeline._clock
        self._deadline = deadline
        self._got: dict[str, Token] = {}
        self._cached: set[str] = set()  # of those, the ones that this run did not fetch itself
        self._distrusted: dict[str, Token] = {}  # not to be taken again, by step

    def distrust(self, name: str, token: Token | None = None) -> None:
        """Take no cached token of step *name* that equals *token*; None: the one that is cached now."""
        step = self._pipeline._by_name[name]
        token = token or self._got.pop(name, None) or self._pipeline._shared(step).read()
        self._got.pop(name, None)
        if token is not None:
            self._distrusted[name] = token

    def token(self, step: TokenFetcher) -> Token:
        """Return the step's token: the one this run has, else the cached one, else a new one."""
        token = self._got.get(step.name)
        if token is None or token.is_expired(wall_time(self._clock)):
            token = self._cached_token(step) or self._renewed_token(step)
            self._got[step.name] = token
        return token

    def _cached_token(self, step: TokenFetcher) -> Token | None:
        token = self._pipeline._shared(step).read()
        if token is None or not self._is_good(step, token):
            return None
        self._cached.add(step.name)
        return token

    def _renewed_token(self, step: TokenFetcher) -> Token:
        renewed = self._pipeline._shared(step).renew(
            self._distrusted.get(step.name),
            lambda previous: self._healed(step, previous),
            lambda stored: self._is_good(step, stored),
            lock_timeout=min(self._pipeline._lock_timeout, self._left(step)),
        )
        (self._cached.add if renewed.adopted else self._cached.discard)(step.name)
        return renewed.token

    def _healed(self, step: TokenFetcher, previous: Token | None) -> Token:
        """Fetch the step; where its upstream was refused and came from the cache, once more with a new one."""
        try:
            return self._fetched(step, previous)
        except TokenEndpointError as error:
            suspects = [name for name in step.depends_on if name in self._cached]
            if error.step_name != step.name or error.status not in _UPSTREAM_REFUSALS or not suspects:
                raise
        logger.info("step %s was refused; its cached dependencies are fetched anew", step.name)
        for name in suspects:
            self.distrust(name)
        return self._fetched(step, previous)

    def _fetched(self, step: TokenFetcher, previous: Token | None) -> Token:
        context = FetchContext(self._upstream(step), timeout=self._limit(step))
        try:
            return as_token(step, previous, context, wall_time(self._clock))
        except Exception as error:
            shared = as_token_error(error)
            told = own_copy(shared)
            told.step_name = step.name
            raise told from (shared if shared is error else shared.__cause__)

    def _upstream(self, step: TokenFetcher) -> dict[str, Token]:
        tokens: dict[str, Token] = {}
        for _ in range(_UPSTREAM_ROUNDS):
            tokens = {name: self.token(self._pipeline._by_name[name]) for name in step.depends_on}
            if not any(token.is_expired(wall_time(self._clock)) for token in tokens.values()):
                break  # else one expired while another was fetched
        return tokens

    def _is_good(self, step: TokenFetcher, token: Token) -> bool:
        distrusted = self._distrusted.get(step.name)
        if distrusted is not None and token.access_token == distrusted.access_token:
            return False
        return self._pipeline._policy.is_usable(token, wall_time(self._clock))

    def _limit(self, step: TokenFetcher) -> float | None:
        left = self._left(step)
        return None if left == math.inf else left

    def _left(self, step: TokenFetcher) -> float:
        left = self._deadline - self._clock.monotonic()
        if left <= 0:
            raise AuthenticationError(f"the time was over before step {step.name}", step_name=step.name, transient=True)
        return left


@final
class PipelineTokenProvider(TokenProvider):
    """A pipeline as the source of a manager.

    Args:
        pipeline: Closed with this provider.
        service_name: What the token is for; not empty.
        refresh_from_step: To renew the token, fetch exactly this step and its dependents. None: the last step.

    Raises:
        ConfigurationError: The name is empty, or there is no such step.
    """

    def __init__(self, pipeline: TokenFetchPipeline, service_name: str, refresh_from_step: str | None = None) -> None:
        if not service_name:
            raise ConfigurationError("service_name must not be empty")
        if refresh_from_step is not None and refresh_from_step not in pipeline.step_names:
            known = ", ".join(pipeline.step_names)
            raise ConfigurationError(f"refresh_from_step: no step {refresh_from_step!r} among {known}")
        self.service_name = service_name
        self.pipeline = pipeline
        self._from_step = refresh_from_step

    @property
    def cache_key(self) -> str:
        """The service's name and the pipeline's digest: no other pipeline's token, nor a step's, has this key."""
        return f"{self.service_name}#{self.pipeline.cache_key}"

    def fetch_token(self, context: FetchContext | None = None) -> Token:
        return self.pipeline.execute(timeout=context.timeout if context else None)

    def refresh_token(self, current: Token, context: FetchContext | None = None) -> Token:
        return self.pipeline.renew(current, self._from_step, context.timeout if context else None)

    def close(self) -> None:
        self.pipeline.close()
