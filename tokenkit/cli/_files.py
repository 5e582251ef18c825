"""A file that always holds a good token, for programs that are not Python: replaced whole, or left as it was."""

from __future__ import annotations

import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import final

from tokenkit.cli._formats import formatted
from tokenkit.errors import ConfigurationError
from tokenkit.tokens import Token

__all__ = ["TokenFile", "reason"]


def reason(error: OSError) -> str:
    """Return what went wrong, and with which file."""
    said = error.strerror or type(error).__name__
    return said if error.filename is None else f"{said}: {error.filename}"


@final
@dataclass(frozen=True)
class TokenFile:
    """Where a token is written, and for whom.

    Args:
        path: The file. Its directory must be there.
        form: One of :data:`~tokenkit.cli._formats.FORMATS`.
        mode: Its permissions.
        owner: ``USER`` or ``USER:GROUP`` that it is given to, which root may do; None: nobody else.
    """

    path: Path
    form: str = "text"
    mode: int = 0o600
    owner: str | None = None

    def write(self, token: Token) -> None:
        """Put *token* in the place of what the file holds; a reader sees the one or the other.

        Raises:
            ConfigurationError: There is no such owner.
            OSError: It cannot be written; the file is as it was.
        """
        try:
            self._replace(token)
        except LookupError:
            problem: ConfigurationError | OSError = ConfigurationError(f"--owner {self.owner}: no such user or group")
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
                user, _, group = self.owner.partition(":")
                shutil.chown(name, user)
                if group:
                    shutil.chown(name, group=group)
            Path(name).chmod(self.mode)
            Path(name).replace(self.path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
