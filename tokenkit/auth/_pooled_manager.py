"""What stands for a manager where a pool has it: whoever is authorised asks it as it would ask the manager."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Concatenate, ParamSpec, TypeVar, final

from tokenkit.errors import RenewalStoppedError
from tokenkit.manager import ManagerPool, TokenManager
from tokenkit.tokens import Token

__all__ = ["PooledManager"]

P = ParamSpec("P")
R = TypeVar("R")


def _asked_again(
    method: Callable[Concatenate[TokenManager, P], R],
) -> Callable[Concatenate[PooledManager, P], R]:
    """Return *method* of the pool's manager; of another one, where the pool has closed that meanwhile."""

    def ask(self: PooledManager, /, *args: P.args, **options: P.kwargs) -> R:
        manager = self.pool[self.key]
        try:
            return method(manager, *args, **options)
        except RenewalStoppedError:
            if self.pool.peek(self.key) is manager:
                raise
        return method(self.pool[self.key], *args, **options)

    return ask


@final
class PooledManager:
    """The manager that a pool has for one key; asked for anew at each use, as the pool may have closed it meanwhile."""

    def __init__(self, pool: ManagerPool, key: Hashable) -> None:
        self.pool = pool
        self.key = key

    @property
    def holds_fresh_token(self) -> bool:
        """As of the manager; False while there is none."""
        return (manager := self.pool.peek(self.key)) is not None and manager.holds_fresh_token

    @property
    def weighs_answers(self) -> bool:
        """As of the manager; False while there is none."""
        return (manager := self.pool.peek(self.key)) is not None and manager.weighs_answers

    def predecessor_of(self, rejected: Token) -> Token | None:
        """As of the manager; None while there is none."""
        return None if (manager := self.pool.peek(self.key)) is None else manager.predecessor_of(rejected)

    def fresh_token(self) -> Token | None:
        """As of the manager."""
        return self.pool[self.key].fresh_token()

    get_token = _asked_again(TokenManager.get_token)
    renew_rejected = _asked_again(TokenManager.renew_rejected)
