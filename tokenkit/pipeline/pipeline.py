"""Several tokens in a row: each step fetched with the tokens it depends on, and cached for its own time.

Evaluation is by need, from the last step back; how one call of it goes is :mod:`tokenkit.pipeline._execution`'s.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from datetime import timedelta
from typing import final

from tokenkit._checks import seconds
from tokenkit._dataclasses import replace
from tokenkit._secrecy.references import given
from tokenkit._sources.grants import settle, take_out
from tokenkit._sources.ledger import ledger_of
from tokenkit.clock import Clock, SystemClock
from tokenkit.contracts import FetchContext, TokenFetcher, TokenProvider, TokenStorage
from tokenkit.errors import ConfigurationError
from tokenkit.pipeline._execution import Execution, StepStore
from tokenkit.pipeline._single_flight import SingleFlight
from tokenkit.pipeline._steps import digest, in_order, keys_of, with_dependents
from tokenkit.policy import RefreshPolicy
from tokenkit.tokens import Token

__all__ = ["PipelineTokenProvider", "TokenFetchPipeline"]


@final
class TokenFetchPipeline:
    """Fetches the token of its last step, and for it only what is missing of the steps before.

    Safe from any number of threads and, with a shared storage, from any number of processes and hosts: while one
    fetches a step the others wait for its lock and then read the result. It keeps no token itself, and has no back-off:
    each :meth:`execute` asks a step that failed again, but for a ``PasswordFetcher``, which keeps a refused password
    back. A manager above it waits longer after each failure.

    Args:
        steps: Fetchers, each after those it depends on; the last one's token is the pipeline's.
        storage: Where each step's token is cached, under its ``cache_key``. Where a step that it depends on has a key
            that says more than its name, a digest of these keys is added: what is bought with Alice's token is hers.
        cache_key_prefix: Put before each key with a colon; empty: the key stands alone. Steps whose key is their name
            tell no two tenants apart: give each tenant a prefix, or a storage.
        validate_dependencies: Check the steps here. False: at the first :meth:`execute`.
        clock: Judges expiry; the system's unless a test says otherwise.
        lock_timeout: Seconds (10 where nothing is said), or a timedelta, to wait for another who fetches a step, before
            fetching it too; what the other stores meanwhile ends the wait. Where a refresh token would be spent, which
            may be done once only, the wait is nearly as long as the call may take, and nearly 30 s without a limit.

    Raises:
        ConfigurationError: There is no step, or a dependency is unknown, late or circular, or a name comes twice; it
            is a ``ValueError`` and names the steps. Or another argument is wrong.

    Example:
        >>> from tokenkit import CallableTokenFetcher, Token
        >>> from tokenkit.storage import InMemoryTokenStorage
        >>> device = CallableTokenFetcher(lambda: Token("for-the-device"), name="device")
        >>> user = CallableTokenFetcher(
        ...     lambda done: Token("bought-with-" + done["device"].access_token),
        ...     name="user",
        ...     depends_on=["device"],
        ... )
        >>> pipeline = TokenFetchPipeline([device, user], InMemoryTokenStorage())
        >>> pipeline.execute().access_token
        'bought-with-for-the-device'
        >>> pipeline.close()
    """

    def __init__(
        self,
        steps: Iterable[TokenFetcher],
        storage: TokenStorage,
        cache_key_prefix: str = "",
        validate_dependencies: bool = True,
        *,
        clock: Clock = SystemClock(),  # noqa: B008  # it has no state
        lock_timeout: float | timedelta = 10.0,
    ) -> None:
        if not isinstance(storage, TokenStorage):
            raise ConfigurationError(f"storage must be a TokenStorage, not {type(storage).__name__}")
        if not isinstance(cache_key_prefix, str):
            raise ConfigurationError("cache_key_prefix must be a string")
        if not isinstance(steps, Iterable):
            raise ConfigurationError("steps must be a sequence of TokenFetchers")
        self._steps = tuple(steps)
        self._storage = storage
        self._prefix = cache_key_prefix
        self._clock = clock
        self._policy = RefreshPolicy(lock_timeout=lock_timeout)
        self._flights = SingleFlight(clock)
        self._by_name: Mapping[str, TokenFetcher] = {}  # empty until checked
        if validate_dependencies:
            self._checked()

    def __repr__(self) -> str:
        return f"<TokenFetchPipeline of {len(self._steps)} steps>"

    @property
    def step_names(self) -> tuple[str, ...]:
        """The steps' names, in their order."""
        return tuple(step.name for step in self._steps)

    @property
    def cache_key(self) -> str:
        """What tells this pipeline's token from another's: a digest of its prefix and its steps' keys."""
        return digest((self._prefix, *(step.cache_key for step in self._steps)))[:16]

    @property
    def lock_lease(self) -> float | None:
        """Seconds after which the lock on a step comes free although its holder lives; None: never."""
        return self._storage.lock_lease

    def get_step(self, name: str) -> TokenFetcher | None:
        """Return the step called *name*, or None."""
        return next((step for step in self._steps if step.name == name), None)

    def execute(self, force_refresh: bool = False, timeout: float | timedelta | None = None) -> Token:
        """Return the last step's token, fetching what is not cached or no longer valid.

        Blocks while a step is fetched, here or by another who shares the storage.

        Args:
            force_refresh: Fetch every step anew; one that another fetched since this call began counts.
            timeout: Seconds, or a timedelta, for all steps together; each step finds what is left in its context. No
                step begins after it, and a step that has begun is not cut off. None: no limit; 0: what is cached or
                nothing.

        Raises:
            AuthenticationError: A step failed, or the time was over; ``step_name`` names the step. Tokens of earlier
                steps stay cached.
            ConfigurationError: *timeout* is no time limit, or the steps are wrong and were not checked before.
        """
        names = tuple(self._checked())
        return self._execute(names if force_refresh else (), None, _asked(timeout, forced=force_refresh))

    def renew(self, current: Token, from_step: str | None = None, timeout: float | timedelta | None = None) -> Token:
        """Return a token to replace *current*, the last step's token that was held.

        Args:
            current: This token is not taken from the cache again, nor is an older one; another valid token there is.
            from_step: Fetch this step and its dependents anew, and nothing else. None: the last step alone.
            timeout: As of :meth:`execute`.

        Raises:
            AuthenticationError: As of :meth:`execute`.
            ConfigurationError: As of :meth:`execute`.
            KeyError: There is no step *from_step*.
        """
        return self._execute(self._with_dependents(from_step), current, _asked(timeout))

    def invalidate_step(self, name: str) -> None:
        """Make the cached token of step *name*, and of all that depend on it, count as no good.

        A refresh token among them is kept, since it may be the only one.

        Raises:
            KeyError: There is no such step.
            StorageError: The storage failed, and may still have the token.
        """
        self._invalidate(self._with_dependents(name))

    def invalidate_all(self) -> None:
        """Make every cached token count as no good, as :meth:`invalidate_step` does."""
        self._invalidate(self._checked())

    def as_provider(self) -> TokenProvider:
        """Return a provider for a manager, named after the last step; a manager that is given a pipeline asks that."""
        return PipelineTokenProvider(self, self.step_names[-1])

    def revoke(self, token: Token | str | None = None) -> None:
        """Revoke each step's token that can be revoked (RFC 7009), the last one first, and take it out of the storage.

        Args:
            token: The last step's, where it is held besides; None: what is stored.

        Raises:
            AuthenticationError: A server cannot be reached, or refused.
            StorageError: The storage failed.
        """
        self._take_out(lambda step: getattr(step, "revoke", None), token if isinstance(token, Token) else None)

    def forget(self) -> None:
        """Take each step's token out of the storage, without a word to a server: whoever holds one drops it, too.

        Raises:
            StorageError: The storage failed.
        """
        self._take_out(lambda _step: lambda _token: None, None)

    def stored(self) -> dict[str, Token | None]:
        """Return what the storage has of each step, by name and in order, expired or not; None: nothing. Asks no step.

        Raises:
            StorageError: The storage failed.
        """
        keys = keys_of(self._checked(), self._prefix)
        return {step.name: self._storage.get_strict(keys[step.name]) for step in self._steps}

    def _take_out(
        self, revoker: Callable[[TokenFetcher], Callable[[Token | str], None] | None], last: Token | None
    ) -> None:
        keys, now = keys_of(self._checked(), self._prefix), self._clock.now()
        leaving = [(step, revoke) for step in self._steps if (revoke := revoker(step)) is not None]
        with ExitStack() as everything:  # whatever fails, the next one is tried
            for step, revoke in leaving:
                held = last if step is self._steps[-1] else None
                everything.callback(take_out, self._storage, keys[step.name], step.grant_key, held, revoke, now)

    def close(self) -> None:
        """Close the steps and the storage, each even where another fails to; store what could not be stored before."""
        with ExitStack() as everything:
            for key in self._owners():
                settle(self._storage, key, ledger_of(self._storage))
            everything.callback(self._storage.close)
            for step in reversed(self._steps):
                everything.callback(step.close)

    def _owners(self) -> list[str]:
        """Return the keys of the entries that may have a refresh token that could not be stored."""
        if not ledger_of(self._storage).unsaved:
            return []
        keys = keys_of(self._checked(), self._prefix)
        return [step.grant_key or keys[step.name] for step in self._steps]

    def _execute(self, stale: Sequence[str], current: Token | None, asked: FetchContext) -> Token:
        deadline = self._clock.monotonic() + (math.inf if asked.timeout is None else max(0.0, asked.timeout))
        places = StepStore(self._storage, keys_of(self._checked(), self._prefix), self._flights)
        run = Execution(self._by_name, places, self._clock, self._policy, deadline, asked)
        last = self._steps[-1]
        for name in stale:
            run.distrust(name, current if name == last.name else None)
        return run.token(last)

    def _invalidate(self, names: Iterable[str]) -> None:
        keys = keys_of(self._by_name, self._prefix)
        for name in names:
            self._invalidate_key(keys[name])

    def _invalidate_key(self, key: str) -> None:
        token = self._storage.get(key)
        if token is None:
            return
        if token.refresh_token is None:
            self._storage.delete_if_equal(key, token)
        else:
            now = self._clock.now()
            issued = token.issued_at or now
            expired = replace(token, expires_at=min(issued, now))  # another host's clock may be ahead
            self._storage.replace(key, token, expired)

    def _with_dependents(self, name: str | None) -> tuple[str, ...]:
        by_name = self._checked()
        name = tuple(by_name)[-1] if name is None else name
        if name not in by_name:
            raise KeyError(f"no step {name!r} among {', '.join(by_name)}")
        return with_dependents({name}, by_name)

    def _checked(self) -> Mapping[str, TokenFetcher]:
        if not self._by_name:
            self._by_name = in_order(self._steps)
        return self._by_name


@final
class PipelineTokenProvider(TokenProvider):
    """A pipeline as the source of a manager.

    Args:
        pipeline: Closed with this provider.
        service_name: What the token is for; not empty.
        refresh_from_step: To renew the token, fetch exactly this step and its dependents. None: the last step.

    Raises:
        ConfigurationError: The pipeline is none, the name is empty, or there is no such step.

    Example:
        >>> from tokenkit import CallableTokenFetcher, Token, TokenManager
        >>> from tokenkit.storage import InMemoryTokenStorage
        >>> step = CallableTokenFetcher(lambda: Token("a-token"), name="user")
        >>> pipeline = TokenFetchPipeline([step], InMemoryTokenStorage())
        >>> with TokenManager(PipelineTokenProvider(pipeline, "billing")) as manager:
        ...     manager.get_token().access_token
        'a-token'
    """

    def __init__(self, pipeline: TokenFetchPipeline, service_name: str, refresh_from_step: str | None = None) -> None:
        if not isinstance(pipeline, TokenFetchPipeline):
            raise ConfigurationError(f"pipeline must be a TokenFetchPipeline, not {type(pipeline).__name__}")
        if not isinstance(service_name, str) or not service_name:
            raise ConfigurationError("service_name must be a string, and not empty")
        if refresh_from_step is not None and refresh_from_step not in pipeline.step_names:
            known = ", ".join(pipeline.step_names)
            raise ConfigurationError(f"refresh_from_step: no step {refresh_from_step!r} among {known}")
        self.service_name = service_name
        self.keeps_tokens = True
        self.spends_refresh_token: bool = any(step.spends_refresh_token for step in pipeline._steps)
        self.pipeline = pipeline
        self._from_step = refresh_from_step

    @property
    def cache_key(self) -> str:
        """The service's name and the pipeline's digest. No token of another pipeline, or of a step, has this key."""
        return f"{self.service_name}#{self.pipeline.cache_key}"

    @property
    def lock_lease(self) -> float | None:
        """That of the pipeline's storage."""
        return self.pipeline.lock_lease

    @property
    def certificate(self) -> str | None:
        """Those of all steps that have one."""
        return "|".join(filter(None, (step.certificate for step in self.pipeline._steps))) or None

    @property
    def credentials(self) -> str | None:
        """Those of all steps that have some."""
        return "|".join(filter(None, (step.credentials for step in self.pipeline._steps))) or None

    def fetch_token(self, context: FetchContext | None = None) -> Token:
        return self.pipeline._execute((), None, given(context))

    def refresh_token(self, current: Token, context: FetchContext | None = None) -> Token:
        return self.pipeline._execute(self.pipeline._with_dependents(self._from_step), current, given(context))

    def revoke(self, token: Token | str | None = None) -> None:
        """Revoke what the steps have, as :meth:`TokenFetchPipeline.revoke`."""
        self.pipeline.revoke(token)

    def close(self) -> None:
        self.pipeline.close()


def _asked(timeout: float | timedelta | None, *, forced: bool = False) -> FetchContext:
    limit = None if timeout is None else seconds("timeout", timeout, zero=True, infinite=True)
    return FetchContext(timeout=limit, forced=forced)
