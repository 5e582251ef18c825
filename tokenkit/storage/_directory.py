"""The user's own directory for entries and lock files: where it is, and whether it is private."""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path

from tokenkit.errors import ConfigurationError, StorageError
from tokenkit.storage._failures import guarded

__all__ = ["default_directory", "is_ours_alone", "make_private", "verify_private"]

_CACHES = {"darwin": "Library/Caches", "win32": "AppData/Local"}


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


def is_ours_alone(facts: os.stat_result) -> bool:
    """Return whether a file or directory belongs to this user and no other may enter or read it."""
    if not hasattr(os, "geteuid"):  # Windows: a profile's folders are private by their access lists
        return True
    return facts.st_uid == os.geteuid() and not facts.st_mode & (stat.S_IRWXG | stat.S_IRWXO)


def verify_private(directory: Path) -> bool:
    """Return whether *directory* is there.

    Raises:
        StorageError: It is no directory, or others may look into it, or another user owns it.
    """
    try:
        facts = directory.stat()
    except FileNotFoundError:
        return False
    if not stat.S_ISDIR(facts.st_mode):
        raise StorageError(f"{directory} is not a directory")
    if not is_ours_alone(facts):
        raise StorageError(f"{directory} is not this user's alone; chown it, or chmod it to 0700")
    return True


def make_private(directory: Path) -> Path:
    """Return *directory*, made with mode 0700 where it was missing, whatever the umask.

    Raises:
        StorageError: It cannot be made, or it is not private.
    """
    guarded(f"making the directory {directory}", lambda: verify_private(directory) or _make(directory))
    return directory


def _make(directory: Path) -> bool:
    # What is missing above it too, since another storage's directory may be there: ours is below ``tokenkit``.
    missing = [parent for parent in directory.parents if not parent.exists()]
    for place in (*reversed(missing), directory):
        try:
            place.mkdir(mode=stat.S_IRWXU)
        except FileExistsError:  # another process was faster
            continue
        place.chmod(stat.S_IRWXU)
    return verify_private(directory)
