"""The user's own directory for entries and lock files: where it is, whom it may belong to, and when it was tidied."""

from __future__ import annotations

import os
import stat
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import final

from tokenkit.clock import SystemClock
from tokenkit.errors import ConfigurationError, StorageError
from tokenkit.storage._failures import guarded

__all__ = ["OwnDirectory", "default_directory", "given_directory", "lock_directory"]

_CACHES = {"darwin": "Library/Caches", "win32": "AppData/Local"}
_CLOCK = SystemClock()
_OTHERS = stat.S_IRWXO
_OTHERS_AND_GROUP = stat.S_IRWXG | stat.S_IRWXO


def given_directory(name: str, path: str | os.PathLike[str]) -> Path:
    """Return the absolute directory that the argument *name* gives as *path*; ``~`` is a home directory.

    Raises:
        ConfigurationError: It is empty, or there is no such home directory.
    """
    try:
        text = os.fspath(path)
        if text:
            return Path(text).expanduser().absolute()
        problem = "must not be empty"
    except (TypeError, RuntimeError):
        problem = "must be a path, and its '~' a home directory"
    raise ConfigurationError(f"{name} {problem}")


def default_directory() -> Path:
    """Return ``tokenkit`` in the user's cache directory: ``$XDG_CACHE_HOME``, or the platform's usual one.

    Raises:
        ConfigurationError: The user has no home directory.
    """
    given = os.environ.get("XDG_CACHE_HOME", "")
    if Path(given).is_absolute():  # the XDG specification has relative ones ignored
        return Path(given) / "tokenkit"
    try:
        home = Path.home()
    except RuntimeError:
        raise ConfigurationError("there is no home directory; give a directory") from None
    return home / _CACHES.get(sys.platform, ".cache") / "tokenkit"


def lock_directory(given: str | os.PathLike[str] | None) -> Path:
    """Return where a storage whose entries are elsewhere keeps its lock files.

    Without a home directory, as in a container with a user that nobody entered, it is one for each user below the
    system's temporary directory: what is there is worth nothing.

    Raises:
        ConfigurationError: *given* is no path.
    """
    if given is not None:
        return given_directory("lock_directory", given)
    try:
        return default_directory() / "locks"
    except ConfigurationError:
        user = os.geteuid() if hasattr(os, "geteuid") else "user"
        return Path(tempfile.gettempdir()) / f"tokenkit-{user}" / "locks"


@final
class OwnDirectory:
    """A directory that no other user may look into; made when it is first needed.

    Args:
        path: Where it is.
        trust_group: Whether it, and what is in it, may also be open to a group that this process is in.
    """

    def __init__(self, path: Path, *, trust_group: bool = False) -> None:
        self.path = path
        self.trusts_group = trust_group

    @property
    def file_mode(self) -> int:
        """The permissions of a new file in it."""
        return 0o660 if self.trusts_group else 0o600

    def trusts(self, facts: os.stat_result) -> bool:
        """Return whether only those who may use it can have made, or can read, a file of these *facts*."""
        if not hasattr(os, "geteuid"):  # Windows: a profile's folders are private by their access lists
            return True
        if facts.st_uid == os.geteuid() and not facts.st_mode & _OTHERS_AND_GROUP:
            return True
        is_of_group = facts.st_gid == os.getegid() or facts.st_gid in os.getgroups()
        return self.trusts_group and is_of_group and not facts.st_mode & _OTHERS

    def is_there(self) -> bool:
        """Return whether it is there.

        Raises:
            StorageError: It is no directory, or others may look into it, or another user owns it.
        """
        try:
            facts = self.path.stat()
        except FileNotFoundError:
            return False
        if not stat.S_ISDIR(facts.st_mode):
            raise StorageError(f"{self.path} is not a directory")
        if not self.trusts(facts):
            raise StorageError(f"{self.path} {self._complaint()}")
        return True

    def made(self) -> Path:
        """Return its path, made with mode 0700, or 0770 for a group, where it was missing, whatever the umask.

        Raises:
            StorageError: It cannot be made, or it is not private.
        """
        guarded(f"making the directory {self.path}", lambda: self.is_there() or self._make())
        return self.path

    def is_to_be_tidied(self, what: str, interval: float) -> bool:
        """Return whether nobody has tidied *what* up for *interval* seconds; true for one of those who ask at once.

        A file's age tells, so that many short-lived processes do it no more often than one that stays. False where
        the directory cannot be written to.
        """
        mark = self.path / f".{what}-tidied"
        try:
            if abs(_CLOCK.time() - mark.stat().st_mtime) < interval:
                return False
            os.utime(mark)
        except FileNotFoundError:
            return self._marked(mark)
        except OSError:
            return False
        return True

    def _marked(self, mark: Path) -> bool:
        with suppress(OSError):
            mark.touch(self.file_mode, exist_ok=False)
            mark.chmod(self.file_mode)  # the umask may have taken some of it
            return True
        return False

    def _complaint(self) -> str:
        if self.trusts_group:
            return "is open to others, or of a group that this process is not in; chmod it to 2770"
        return (
            "is not this user's alone; chown it, or chmod it to 0700,"
            " or say trust_group=True where it is for a group that this process is in"
        )

    def _make(self) -> bool:
        # What is missing above it too, since another storage's directory may be there: ours is below ``tokenkit``.
        missing = [parent for parent in self.path.parents if not parent.exists()]
        for place in (*reversed(missing), self.path):
            try:
                place.mkdir(mode=stat.S_IRWXU)
            except FileExistsError:  # another process was faster
                continue
            inherited = place.stat().st_mode & stat.S_ISGID  # with it, what is made below is of the same group
            place.chmod((0o770 if self.trusts_group else 0o700) | inherited)
        return self.is_there()
