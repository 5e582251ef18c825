"""When a storage that was given a secret may be pickled."""

from __future__ import annotations

from multiprocessing.context import get_spawning_popen

__all__ = ["refuse_to_pickle"]


def refuse_to_pickle(kind: str, secret: str) -> None:
    """Raise unless ``multiprocessing`` is handing the storage to a child that it spawns, over a private pipe.

    Raises:
        TypeError: The pickle could go anywhere, and the secret with it. Deep copies are another matter.
    """
    if get_spawning_popen() is None:
        raise TypeError(f"{kind} cannot be pickled: it holds {secret}; let each process make its own")
