"""Requests of many tenants: which key of a pool of managers a request belongs to, and its token from that one."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any, final

from requests import PreparedRequest

from tokenkit.auth._authoriser import Authoriser, Settings
from tokenkit.auth._pooled_manager import PooledManager
from tokenkit.errors import ConfigurationError
from tokenkit.manager import ManagerPool, TokenManager

__all__ = ["PooledAuthoriser"]

_FEW = 64  # keys that have left the pool, and are still known here


@final
class PooledAuthoriser:
    """Authorises each request with the token of its key."""

    def __init__(self, pool: ManagerPool, key: Any, settings: Settings) -> None:
        # Set here, never reassigned:
        self._pool = pool
        self._key = key
        self._settings = settings
        self._rules = Authoriser(PooledManager(pool, None), settings)  # never asked for a token
        self.header = settings.header
        # By key; replaced whole where some are to be forgotten: what a thread adds meanwhile is made again.
        self._authorisers: dict[Hashable, Authoriser] = {}

    def __reduce__(self) -> tuple[Any, ...]:
        return PooledAuthoriser, (self._pool, self._key, self._settings)

    @property
    def manager(self) -> TokenManager:
        """The manager of the one key.

        Raises:
            ConfigurationError: Each request has its own.
        """
        if callable(self._key):
            raise ConfigurationError("each request has a manager of its own: write pool[key] in place of auth.manager")
        return self._pool[self._key]

    def authorise(self, request: PreparedRequest) -> PreparedRequest:
        """Put the token of its key on *request*, if it may carry one."""
        if self.may_carry(request):
            self.of(request).put_on(request)
        return request

    def may_carry(self, request: PreparedRequest, direct: bool = False) -> bool:
        """Return whether *request* gets a token, as :meth:`Authoriser.may_carry` does; its key is not asked for."""
        return self._rules.may_carry(request, direct)

    def of(self, request: PreparedRequest) -> Authoriser:
        """Return what authorises *request*.

        Raises:
            ConfigurationError: The function that tells the keys knows none for it.
        """
        key = self._key(request) if callable(self._key) else self._key
        if key is None:
            error = ConfigurationError("key gave None for a request: give a key, or list in origins who gets tokens")
            error.request = request
            raise error
        found = self._authorisers.get(key)
        if found is None:
            self._forget()
            found = self._authorisers.setdefault(key, Authoriser(PooledManager(self._pool, key), self._settings))
        return found

    def _forget(self) -> None:
        """Forget those whose managers are gone, where they are many."""
        if len(self._authorisers) > 2 * len(self._pool) + _FEW:
            there = set(self._pool)
            self._authorisers = {key: one for key, one in list(self._authorisers.items()) if key in there}
