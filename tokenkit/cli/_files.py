"""A file that always holds a good token, for programs that are not Python: replaced whole, or left as it was."""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import final

from tokenkit.cli._formats import formatted
from tokenkit.errors import ConfigurationError
from tokenkit.tokens import Token

try:
    import grp
    import pwd
except ImportError:  # Windows, where nobody is looked up by these
    grp = None  # type: ignore[assignment]  # looked at before each use
    pwd = None  # type: ignore[assignment]

__all__ = ["TokenFile", "owner_named", "reason"]


def reason(error: OSError) -> str:
    """Return what went wrong, and with which file."""
    said = error.strerror or type(error).__name__
    return said if error.filename is None else f"{said}: {error.filename}"


def owner_named(text: str) -> tuple[int, int]:
    """Return the numbers of ``USER`` or ``USER:GROUP``; of a group that is not named -1, which changes none.

    Raises:
        ConfigurationError: There is no such user or group on this system.
    """
    user, _, group = text.partition(":")
    try:
        if grp is not None and pwd is not None:
            return pwd.getpwnam(user).pw_uid, grp.getgrnam(group).gr_gid if group else -1
    except KeyError:
        pass
    raise ConfigurationError(f"--owner {text}: no such user or group")


@final
@dataclass(frozen=True)
class TokenFile:
    """Where a token is written, and for whom.

    Args:
        path: The file. Its directory must be there.
        form: One of :data:`~tokenkit.cli._formats.FORMATS`.
        mode: Its permissions.
        owner: Whom it is given to, as :func:`owner_named` returns it, which root may do; None: nobody else.
    """

    path: Path
    form: str = "text"
    mode: int = 0o600
    owner: tuple[int, int] | None = None

    def write(self, token: Token) -> None:
        """Put *token* in the place of what the file holds; a reader sees the one or the other.

        Raises:
            OSError: It cannot be written; the file is as it was.
        """
        try:
            self._replace(token)
        except OSError as error:
            problem = OSError(error.errno, error.strerror or type(error).__name__, str(self.path))
        else:
            return
        raise problem

    def _replace(self, token: Token) -> None:
        descriptor, name = tempfile.mkstemp(prefix=f".{self.path.name}.", dir=self.path.parent)
        try:
            with open(descriptor, "w", encoding="utf-8") as file:  # noqa: PTH123  # a descriptor, not a path
                file.write(f"{formatted(token, self.form)}\n")
                file.flush()
                os.fsync(descriptor)
            if self.owner is not None:
                os.chown(name, *self.owner)
            Path(name).chmod(self.mode)
            Path(name).replace(self.path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
