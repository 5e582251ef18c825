"""A secret by reference: it stands in an environment variable, a file or the system's keyring until it is needed.

What they return is given wherever a fetcher takes a function. Unlike a function of your own, a reference has an
identity: two programs that name the same secret share its tokens, whatever their code looks like. Configuration files
write the same as ``env:NAME``, ``file:PATH`` and ``keyring:SERVICE/USER``::

    RefreshTokenFetcher(
        token_url=...,
        client_id="shop",
        client_auth="none",
        refresh_token=env("SHOP_REFRESH_TOKEN"),
    )
"""

from __future__ import annotations

import os

from tokenkit._secrecy.references import SecretReference, keyring_place
from tokenkit.errors import ConfigurationError

__all__ = ["env", "file", "keyring"]


def env(variable: str) -> SecretReference:
    """Refer to the environment variable *variable*, which is read at each use; white space around it is cut off.

    Args:
        variable: Its name. At a use where it is not set, or empty, there is no token.

    Raises:
        ConfigurationError: *variable* is no text, or empty.
    """
    return SecretReference("env", _named("variable", variable))


def file(path: str | os.PathLike[str]) -> SecretReference:
    """Refer to what the file *path* holds, which is read at each use; white space around it is cut off.

    Args:
        path: Where it is; ``~`` is the home directory. At a use where it is not to be read, there is no token.

    Raises:
        ConfigurationError: *path* is no path, or empty.
    """
    place = os.fspath(path) if isinstance(path, (str, os.PathLike)) else path
    return SecretReference("file", _named("path", place))


def keyring(service: str, user: str) -> SecretReference:
    """Refer to an entry of the system's keyring, which is read at each use; needs the extra ``[keyring]``.

    Args:
        service: The entry's service.
        user: The entry's user, without a slash.

    Raises:
        ConfigurationError: An argument is no text, or empty, or keyring is not installed.
    """
    return SecretReference("keyring", keyring_place(f"{_named('service', service)}/{_named('user', user)}"))


def _named(argument: str, value: object) -> str:
    if not isinstance(value, str) or not value or (argument == "user" and "/" in value):
        raise ConfigurationError(
            f"{argument} must be a text that is not empty" + " and has no slash" * (argument == "user")
        )
    return value
