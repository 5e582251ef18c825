"""Tokens in files of the user's cache directory: shared by the processes of one user."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import Any, TypeVar, final

from tokenkit.clock import SystemClock
from tokenkit.contracts import TokenStorage
from tokenkit.errors import StorageError
from tokenkit.storage._directory import OwnDirectory, default_directory, given_directory
from tokenkit.storage._entry_files import (
    entries_and_leftovers,
    read_entry,
    sync_directory,
    write_entry,
)
from tokenkit.storage._failures import UnreadableEntryError, guarded
from tokenkit.storage._locks.files import FileLocks
from tokenkit.storage._names import entry_name
from tokenkit.storage.codec import EntryReader, decode, encode, matches, retention
from tokenkit.tokens import Token

__all__ = ["FileTokenStorage"]

logger: logging.Logger = logging.getLogger("tokenkit.storage")

T = TypeVar("T")

_ENTRY = re.compile(r"-[0-9a-f]{64}\.json\Z")
_WRITE_TIMEOUT = 5.0  # seconds to wait for another process's write, which takes milliseconds
_TIDYING_INTERVAL = 3600.0  # seconds
_CLOCK = SystemClock()


@final
class FileTokenStorage(TokenStorage):
    """Keeps each token in one file, shared between the processes of one user.

    A write is a temporary file, an fsync and a rename, so a reader sees the old token or the new one and never less,
    even if the writer is killed. Files have mode 0600 in a directory of mode 0700 from birth, and are not believed
    otherwise: an entry that others may read, that another user owns, or that is a symlink, counts as absent until
    the next :meth:`set` replaces it. A directory like that is refused.

    What is of no more use is removed, by a write and at most once an hour: an entry whose token expired an hour ago
    and has no refresh token, one that was written 400 days ago (or as long as the endpoint said that its refresh token
    is good), and lock files that nobody holds. A file system without working ``flock`` is refused; on NFS that takes
    version 4. A pickle or copy carries the directory's path alone.

    Args:
        directory: Where the files are; made when first written to; ``~`` is the home directory. None: ``tokenkit`` in
            the user's cache directory (``$XDG_CACHE_HOME``, else the platform's usual one).
        trust_group: Whether the directory and its files may belong to another user, and be open to their group, where
            this process is in that group: Kubernetes makes volumes so for ``fsGroup``. New files get mode 0660, a new
            directory 0770. False: they must be this user's alone.

    Raises:
        ConfigurationError: *directory* is no path, or it is None and the user has no home directory.

    Example:
        >>> import tempfile
        >>> from tokenkit.tokens import Token
        >>> with tempfile.TemporaryDirectory() as directory:
        ...     storage = FileTokenStorage(directory)
        ...     storage.set("billing", Token("a-token"))
        ...     storage.exists("billing")
        True
    """

    def __init__(self, directory: str | os.PathLike[str] | None = None, *, trust_group: bool = False) -> None:
        path = default_directory() if directory is None else given_directory("directory", directory)
        self._directory = OwnDirectory(path, trust_group=trust_group)
        self._locks = FileLocks(self._directory, ".lock")
        # A lock of its own for writes: set() and replace() are also called by a thread that holds lock().
        self._writes = FileLocks(self._directory, ".write")
        self._reader = EntryReader(repr(self))

    def __repr__(self) -> str:
        return f"<FileTokenStorage {self._directory.path}>"

    def __reduce__(self) -> tuple[Any, ...]:
        make = partial(FileTokenStorage, trust_group=self._directory.trusts_group)
        return make, (str(self._directory.path),)

    def get(self, key: str) -> Token | None:
        return guarded("reading an entry", lambda: self._read(key, strict=False))

    def get_strict(self, key: str) -> Token | None:
        return guarded("reading an entry", lambda: self._read(key, strict=True))

    def set(self, key: str, token: Token) -> None:
        self._writing(key, lambda path: self._put(path, token))
        self._tidy_up()

    def delete(self, key: str) -> None:
        if self._is_there():
            self._writing(key, _remove)

    def clear(self) -> None:
        """Forget every entry in the directory, and what killed writers left there."""
        if not self._is_there():
            return
        for path, leftovers in guarded("listing the directory", self._entries):
            self._locked(path.stem, partial(_remove, path, *leftovers))

    def delete_if_equal(self, key: str, token: Token) -> bool:
        def compare_and_remove(path: Path) -> bool:
            found = matches(self.get(key), token)
            if found:
                _remove(path)
            return found

        return self._is_there() and self._writing(key, compare_and_remove)

    def replace(self, key: str, expected: Token | None, token: Token) -> bool:
        def compare_and_put(path: Path) -> bool:
            found = matches(self.get(key), expected)
            if found:
                self._put(path, token)
            return found

        done = self._writing(key, compare_and_put)
        self._tidy_up()
        return done

    def lock(self, key: str, timeout: float) -> AbstractContextManager[None]:
        return self._locks.hold(entry_name(key), timeout)

    def _path(self, name: str) -> Path:
        return self._directory.path / f"{name}.json"

    def _is_there(self) -> bool:
        return guarded("looking for the directory", self._directory.is_there)

    def _entries(self) -> list[tuple[Path, list[Path]]]:
        directory = self._directory.path
        found = entries_and_leftovers(directory).items()
        return [(directory / name, leftovers) for name, leftovers in found if _ENTRY.search(name)]

    def _read(self, key: str, *, strict: bool) -> Token | None:
        try:
            name = self._path(entry_name(key)).name
            content = read_entry(self._directory, name) if self._directory.is_there() else None
        except UnreadableEntryError as error:
            self._reader.refuse(key, error.message, strict=strict)
            return None
        return self._reader.read(key, content, strict=strict)

    def _put(self, path: Path, token: Token) -> None:
        write_entry(self._directory, path.name, encode(token).encode())

    def _writing(self, key: str, change: Callable[[Path], T]) -> T:
        name = entry_name(key)
        return self._locked(name, lambda: change(self._path(name)))

    def _locked(self, name: str, change: Callable[[], T]) -> T:
        with self._writes.hold(name, _WRITE_TIMEOUT):
            return guarded("writing an entry", change)

    def _tidy_up(self) -> None:
        try:
            if self._directory.is_to_be_tidied("entries", _TIDYING_INTERVAL):
                for path, leftovers in self._entries():
                    if leftovers or self._is_outlived(path):
                        self._locked(path.stem, partial(self._remove_outlived, path, leftovers))
        except (StorageError, OSError) as error:  # what was written is written; another time, then
            logger.debug("%r could not be tidied up: %s", self, type(error).__name__)

    def _remove_outlived(self, path: Path, leftovers: list[Path]) -> None:
        for leftover in leftovers:
            leftover.unlink(missing_ok=True)
        if self._is_outlived(path):  # still: it may have been written meanwhile
            _remove(path)

    def _is_outlived(self, path: Path) -> bool:
        """Return whether the entry is of no more use to anybody, even by a clock that is most of an hour ahead."""
        try:
            written = path.stat().st_mtime
            if _CLOCK.time() < written + _TIDYING_INTERVAL:
                return False
            seconds = retention(decode(read_entry(self._directory, path.name) or b""), written)
        except (StorageError, OSError):  # what cannot be read may be somebody's
            return False
        return seconds is not None and written + seconds + _TIDYING_INTERVAL < _CLOCK.time()


def _remove(path: Path, *leftovers: Path) -> None:
    for leftover in leftovers:
        leftover.unlink(missing_ok=True)
    try:
        path.unlink()
    except FileNotFoundError:
        return
    sync_directory(path.parent)
