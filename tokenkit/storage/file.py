"""Tokens in files of the user's cache directory: shared by the processes of one user."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import Any, TypeVar, final

from tokenkit.contracts import TokenStorage
from tokenkit.storage._directory import default_directory, make_private, verify_private
from tokenkit.storage._entry_files import read_entry, remove_leftovers, sync_directory, write_entry
from tokenkit.storage._failures import UnreadableEntryError, guarded
from tokenkit.storage._locks.files import FileLocks
from tokenkit.storage._names import entry_name
from tokenkit.storage.codec import EntryReader, encode, matches
from tokenkit.tokens import Token

__all__ = ["FileTokenStorage"]

T = TypeVar("T")

_ENTRY = re.compile(r"-[0-9a-f]{64}\.json\Z")
_WRITE_TIMEOUT = 5.0  # seconds to wait for another process's write, which takes milliseconds


@final
class FileTokenStorage(TokenStorage):
    """Keeps each token in one file, shared between the processes of one user.

    A write is a temporary file, an fsync and a rename, so a reader sees the old token or the new one and never less,
    even if the writer is killed. Files have mode 0600 in a directory of mode 0700 from birth, and are not believed
    otherwise: an entry that others may read, that another user owns, or that is a symlink, counts as absent until
    the next :meth:`set` replaces it. A directory like that is refused.

    Nothing is dropped until it is deleted. A file system without working ``flock`` is refused; on NFS
    that takes version 4. A pickle or copy carries the directory's path alone.

    Args:
        directory: Where the files are; made when first written to. None: ``tokenkit`` in the user's cache directory
            (``$XDG_CACHE_HOME``, else the platform's usual one).
    """

    def __init__(self, directory: str | os.PathLike[str] | None = None) -> None:
        self._directory = default_directory() if directory is None else Path(directory).absolute()
        self._locks = FileLocks(self._directory, ".lock")
        # A lock of its own for writes: set() and replace() are also called by a thread that holds lock().
        self._writes = FileLocks(self._directory, ".write")
        self._reader = EntryReader(repr(self))

    def __repr__(self) -> str:
        return f"<FileTokenStorage {self._directory}>"

    def __reduce__(self) -> tuple[Any, ...]:
        return FileTokenStorage, (str(self._directory),)

    def get(self, key: str) -> Token | None:
        return guarded("reading an entry", lambda: self._read(key, strict=False))

    def get_strict(self, key: str) -> Token | None:
        return guarded("reading an entry", lambda: self._read(key, strict=True))

    def set(self, key: str, token: Token) -> None:
        self._writing(key, lambda path: self._put(path, token))

    def delete(self, key: str) -> None:
        if self._is_there():
            self._writing(key, _remove)

    def clear(self) -> None:
        """Forget every entry in the directory, and what killed writers left there; lock files stay."""
        if not self._is_there():
            return
        paths = guarded("listing the directory", lambda: list(self._directory.iterdir()))
        for path in filter(lambda path: _ENTRY.search(path.name), paths):
            self._locked(path.stem, partial(_remove, path))
        guarded("removing leftovers", lambda: remove_leftovers(self._directory))

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

        return self._writing(key, compare_and_put)

    def lock(self, key: str, timeout: float) -> AbstractContextManager[None]:
        return self._locks.hold(entry_name(key), timeout)

    def _path(self, name: str) -> Path:
        return self._directory / f"{name}.json"

    def _is_there(self) -> bool:
        return guarded("looking for the directory", lambda: verify_private(self._directory))

    def _read(self, key: str, *, strict: bool) -> Token | None:
        try:
            content = read_entry(self._path(entry_name(key))) if verify_private(self._directory) else None
        except UnreadableEntryError as error:
            self._reader.refuse(key, error.message, strict=strict)
            return None
        return self._reader.read(key, content, strict=strict)

    def _put(self, path: Path, token: Token) -> None:
        make_private(self._directory)
        write_entry(path, encode(token).encode())

    def _writing(self, key: str, change: Callable[[Path], T]) -> T:
        name = entry_name(key)
        return self._locked(name, lambda: change(self._path(name)))

    def _locked(self, name: str, change: Callable[[], T]) -> T:
        with self._writes.hold(name, _WRITE_TIMEOUT):
            return guarded("writing an entry", change)


def _remove(path: Path) -> None:
    try:
        path.unlink()
    except FileNotFoundError:
        return
    sync_directory(path.parent)
