"""The one place that says what may be copied and pickled.

A pickle is easily stored or sent, so a fetcher or storage that holds a literal secret refuses to be pickled. The
exception is a child that ``multiprocessing`` is spawning, which gets it over a private pipe. The same rule guards
``AuthenticationString`` in the standard library.
"""

from __future__ import annotations

import copy
import sys
from collections.abc import Iterator
from typing import Any, ClassVar

__all__ = ["SecretKeeper", "check_picklable", "refuse_to_pickle"]


class SecretKeeper:
    """Copies and pickles configuration only: what a subclass opens in :meth:`_open` is made anew in each copy."""

    secret_arguments: ClassVar[tuple[str, ...]] = ()
    """The arguments that may hold a secret. A subclass with further secrets adds their attributes' names."""
    _instead: ClassVar[str] = "give that as a callable (a function at module level)"
    _opened: ClassVar[tuple[str, ...]] = ()  # attributes that _open makes and that no copy takes along

    def _open(self) -> None:
        """Make the parts that a copy must not share."""

    def __getstate__(self) -> dict[str, Any]:
        name = type(self).__name__
        if getattr(self, "session", None) is not None:
            raise TypeError(f"{name} cannot be pickled with a session= of yours; leave it out")
        if not _is_handing_over():
            for argument in self._literal_secrets():
                raise TypeError(
                    f"{name} cannot be pickled: it holds the secret {argument}=; {self._instead}, or let"
                    " multiprocessing hand the fetcher to a child that it spawns"
                )
        return self._configuration()

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._open()

    def __copy__(self) -> Any:
        return self.__deepcopy__({})

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        twin = type(self).__new__(type(self))
        memo[id(self)] = twin
        containers = (dict, list, tuple, set)  # the rest is immutable, or the user's own to share
        twin.__setstate__(
            {
                name: copy.deepcopy(value, memo) if isinstance(value, containers) else value
                for name, value in self._configuration().items()
            }
        )
        return twin

    def _configuration(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name not in self._opened}

    def _literal_secrets(self) -> Iterator[str]:
        for argument in self.secret_arguments:
            value = getattr(self, argument, None)
            if value and not callable(value):
                yield argument
        proxies = getattr(self, "proxies", None) or {}
        if not callable(proxies) and any("@" in str(proxy) for proxy in proxies.values()):
            yield "proxies"


def check_picklable(source: object) -> None:
    """Refuse to pickle a manager whose *source* does not pickle.

    Raises:
        TypeError: It does not; the message names its type and the reason.
    """
    import pickle

    try:
        pickle.dumps(source)
    except Exception as error:
        # A TypeError names a type; what another kind of error says may be anything.
        why = str(error) if isinstance(error, TypeError) else type(error).__name__
        kind = type(source).__name__
        raise TypeError(f"the token manager's source, a {kind}, cannot be pickled: {why}") from None


def refuse_to_pickle(kind: str, secret: str) -> None:
    """Raise unless ``multiprocessing`` is handing the storage to a child that it spawns, over a private pipe.

    Raises:
        TypeError: The pickle could go anywhere, and the secret with it. Deep copies are another matter.
    """
    if not _is_handing_over():
        raise TypeError(f"{kind} cannot be pickled: it holds {secret}; let each process make its own")


def _is_handing_over() -> bool:
    """Whether ``multiprocessing`` is pickling for a child that it spawns; where it is not loaded, it spawns none."""
    context = sys.modules.get("multiprocessing.context")
    return context is not None and context.get_spawning_popen() is not None
