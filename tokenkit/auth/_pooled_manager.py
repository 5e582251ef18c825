"""What stands for a manager where a pool has it: whoever is authorised asks it as it would ask the manager."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from datetime import timedelta
from typing import TypeVar, final

from tokenkit.contracts import Challenge
from tokenkit.errors import RenewalStoppedError
from tokenkit.manager import ManagerPool, TokenManager
from tokenkit.tokens import Token

__all__ = ["PooledManager"]

R = TypeVar("R")


@final
class PooledManager:
    """The manager that a pool has for one key; asked for anew at each use, as the pool may have closed it meanwhile."""

    def __init__(self, pool: ManagerPool, key: Hashable) -> None:
        self._pool = pool
        self._key = key

    @property
    def holds_fresh_token(self) -> bool:
        """As of the manager; False while there is none."""
        return (manager := self._pool.peek(self._key)) is not None and manager.holds_fresh_token

    @property
    def weighs_answers(self) -> bool:
        """As of the manager; False while there is none."""
        return (manager := self._pool.peek(self._key)) is not None and manager.weighs_answers

    def predecessor_of(self, rejected: Token) -> Token | None:
        """As of the manager; None while there is none."""
        return None if (manager := self._pool.peek(self._key)) is None else manager.predecessor_of(rejected)

    def fresh_token(self) -> Token | None:
        """As of the manager."""
        return self._pool[self._key].fresh_token()

    def get_token(self, timeout: float | timedelta | None = None) -> Token:
        """As of the manager."""
        return self._with(lambda manager: manager.get_token(timeout))

    def renew_rejected(
        self,
        rejected: Token,
        timeout: float | timedelta | None = None,
        *,
        was_accepted: bool = False,
        challenge: Challenge | None = None,
        earlier: Challenge | None = None,
    ) -> Token | None:
        """As of the manager."""
        return self._with(
            lambda manager: manager.renew_rejected(
                rejected, timeout, was_accepted=was_accepted, challenge=challenge, earlier=earlier
            )
        )

    def _with(self, work: Callable[[TokenManager], R]) -> R:
        manager = self._pool[self._key]
        try:
            return work(manager)
        except RenewalStoppedError:
            if self._pool.peek(self._key) is manager:
                raise
        return work(self._pool[self._key])  # it was discarded, or closed, since; another is made
