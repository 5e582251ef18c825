"""One file, one entry: read only if it can be trusted, and written so that no reader ever sees half of one."""

from __future__ import annotations

import errno
import os
import secrets
import stat
from contextlib import suppress
from pathlib import Path

from tokenkit.errors import StorageError
from tokenkit.storage._directory import OwnDirectory
from tokenkit.storage._failures import UnreadableEntryError

__all__ = ["entries_and_leftovers", "read_entry", "sync_directory", "write_entry"]

_MAX_SIZE = 1024 * 1024  # bytes; a token is some kilobytes
# O_NONBLOCK: to open a FIFO for reading would wait for its writer. Windows has none of these flags.
_SAFELY = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NONBLOCK", 0)
_NOT_OURS = (errno.ELOOP, errno.EACCES, errno.ENXIO)  # a symlink; another user's; a socket


def read_entry(directory: OwnDirectory, name: str) -> bytes | None:
    """Return what the file *name* in *directory* holds; None where there is none.

    Raises:
        UnreadableEntryError: It is no regular file, another user's, open to others, or too large.
        OSError: It cannot be read.
    """
    try:
        descriptor = os.open(directory.path / name, os.O_RDONLY | _SAFELY)
    except FileNotFoundError:
        return None
    except OSError as error:
        if error.errno not in _NOT_OURS:
            raise
        reason = f"it cannot be opened as a file of this user ({errno.errorcode[error.errno]})"
        raise UnreadableEntryError(reason) from None
    try:
        _verify(directory, os.fstat(descriptor))  # of what was opened: the path may name another file by now
        return _read_all(descriptor)
    finally:
        os.close(descriptor)


def _verify(directory: OwnDirectory, facts: os.stat_result) -> None:
    if not stat.S_ISREG(facts.st_mode):
        raise UnreadableEntryError("it is not a regular file")
    if not directory.trusts(facts):
        raise UnreadableEntryError("others may read it, or another user owns it")
    if facts.st_size > _MAX_SIZE:
        raise UnreadableEntryError("it is larger than 1 MiB")


def _read_all(descriptor: int) -> bytes:
    content = b""
    while chunk := os.read(descriptor, _MAX_SIZE):  # ends: entries are replaced, never appended to
        content += chunk
    return content


def write_entry(directory: OwnDirectory, name: str, content: bytes) -> None:
    """Put *content* into the file *name*, whole or not at all, whatever was there and whenever the process dies.

    Raises:
        OSError: It could not be written; the old entry is still there.
        StorageError: It is too large to be read again.
    """
    if len(content) > _MAX_SIZE:
        raise StorageError("the token is larger than 1 MiB")
    path = directory.made() / name
    temporary = path.with_name(f".{name}.{secrets.token_hex(8)}.tmp")
    try:
        _write_new(temporary, content, directory.file_mode)
        temporary.replace(path)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise
    sync_directory(path.parent)


def _write_new(path: Path, content: bytes, mode: int) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _SAFELY, mode)
    try:
        if hasattr(os, "fchmod"):
            os.fchmod(descriptor, mode)  # the umask may have taken even the owner's bits
        _write_all(descriptor, content)
        os.fsync(descriptor)  # before the rename: a crash of the machine must not leave an empty file by this name
    finally:
        os.close(descriptor)


def _write_all(descriptor: int, content: bytes) -> None:
    rest = memoryview(content)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def sync_directory(directory: Path) -> None:
    """Make renames and removals in *directory* outlast a crash of the machine, where the system can."""
    with suppress(OSError):  # some network file systems, and Windows, know no such thing
        descriptor = os.open(directory, os.O_RDONLY | getattr(os, "O_DIRECTORY", 0))
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def entries_and_leftovers(directory: Path) -> dict[str, list[Path]]:
    """Return the names of the files in *directory*, each with the temporary files that its writers have left there.

    Writers of one entry exclude each other by a lock. So whoever takes that lock may remove the temporary files that
    were there before: their writers are dead, or done. Whether a process lives is not asked: a container does not see
    the processes of another that shares the directory.
    """
    found: dict[str, list[Path]] = {}
    for path in directory.iterdir():
        if path.name.startswith(".") and path.suffix == ".tmp":
            found.setdefault(path.name[1:].rsplit(".", 2)[0], []).append(path)
        else:
            found.setdefault(path.name, [])
    return found
