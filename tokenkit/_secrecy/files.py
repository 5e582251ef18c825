"""Reading a secret from a file that another program replaces while we run."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from tokenkit.errors import AuthenticationError, SourceUnavailableError

__all__ = ["at_home", "read_secret"]

_MAX_SIZE = 1 << 20


def at_home(path: Any) -> Any:
    """Return *path* with the home directory in the place of a leading ``~``; what is no string as it is."""
    if not isinstance(path, str) or not path.startswith("~"):
        return path
    try:
        return str(Path(path).expanduser())
    except RuntimeError:  # nobody's home is known; whoever opens the file says which it is
        return path


def read_secret(path: str | os.PathLike[str], *, step_name: str | None) -> str:
    """Return the text in *path*, without the white space around it.

    The path is opened anew each time, so that a link that was swapped, as Kubernetes does, is followed.

    Raises:
        SourceUnavailableError: There is no such file; transient, as it may come yet.
        AuthenticationError: It is empty, or cannot be read. Transient likewise.
    """
    kind: type[AuthenticationError] = AuthenticationError
    try:
        with Path(path).open("rb") as file:
            text = file.read(_MAX_SIZE + 1).decode("utf-8").strip()
        problem = "is larger than 1 MiB" if len(text) > _MAX_SIZE else "" if text else "is empty"
    except OSError as error:
        problem = f"cannot be read ({error.strerror or type(error).__name__})"
        if isinstance(error, (FileNotFoundError, NotADirectoryError)):
            kind = SourceUnavailableError
    except UnicodeError:  # it keeps the content, so the error is raised outside this block
        problem = "is not UTF-8 text"
    if problem:
        raise kind(f"the file {os.fspath(path)} {problem}", step_name=step_name, transient=True)
    return text
