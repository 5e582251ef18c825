"""Reading a secret from a file that another program replaces while we run."""

from __future__ import annotations

import os
from pathlib import Path

from tokenkit.errors import AuthenticationError

__all__ = ["read_secret"]

_MAX_SIZE = 1 << 20


def read_secret(path: str | os.PathLike[str], *, step_name: str | None) -> str:
    """Return the text in *path*, without the white space around it.

    The path is opened anew each time, so that a link that was swapped, as Kubernetes does, is followed.

    Raises:
        AuthenticationError: There is none, or it cannot be read. Transient: it may come yet.
    """
    try:
        with Path(path).open("rb") as file:
            text = file.read(_MAX_SIZE + 1).decode("utf-8").strip()
        problem = "is larger than 1 MiB" if len(text) > _MAX_SIZE else "" if text else "is empty"
    except OSError as error:
        problem = f"cannot be read ({error.strerror or type(error).__name__})"
    except UnicodeError:  # it keeps the content, so the error is raised outside this block
        problem = "is not UTF-8 text"
    if problem:
        raise AuthenticationError(f"the file {os.fspath(path)} {problem}", step_name=step_name, transient=True)
    return text
