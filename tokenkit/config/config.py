"""Managers from configuration: a TOML file, a mapping, or environment variables, by one schema.

The schema is in the how-to on configuration. Its keys are the arguments of the fetchers, storages and the policy
under their own names, so that they cannot drift apart.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Any, final

from tokenkit.config._environment import table_of_environment
from tokenkit.config._parts import Parts, parts_of
from tokenkit.config._toml import table_named, tables_in, tables_of
from tokenkit.events import TokenListener
from tokenkit.manager import TokenManager

__all__ = ["Configuration", "from_config", "from_env"]


@final
class Configuration:
    """The tables of a file, or one table of environment variables. Nothing is fetched by reading it.

    Args:
        config: The path of a TOML file, or what one holds: a table for each manager, by name.

    Raises:
        ConfigurationError: The file cannot be read, or is not TOML.
    """

    def __init__(self, config: Mapping[str, Any] | str | os.PathLike[str]) -> None:
        self._tables: Mapping[str, Any] | None = tables_of(config)
        self._prefix = ""

    @classmethod
    def from_text(cls, text: str, place: str) -> Configuration:
        """Return what the TOML *text* describes; *place* is what errors call it."""
        return cls(tables_in(text, place))

    @classmethod
    def from_environment(cls, prefix: str = "TOKENKIT") -> Configuration:
        """Return what environment variables describe that begin with *prefix*: one manager, without a name."""
        one = cls({})
        one._tables, one._prefix = None, prefix
        return one

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the managers; that of environment variables is empty."""
        if self._tables is None:
            return ("",)
        return tuple(name for name, table in self._tables.items() if isinstance(table, Mapping))

    def parts(self, name: str = "", *, look_up: bool = True) -> Parts:
        """Return the parts of the manager *name*.

        Args:
            name: Its table; empty for environment variables.
            look_up: Whether to read the secrets that a storage needs. False leaves out a storage with references.

        Raises:
            ConfigurationError: There is no such table, or something in it is wrong.
        """
        if self._tables is None:
            return parts_of(*table_of_environment(self._prefix), look_up=look_up)
        return parts_of(*table_named(self._tables, name), look_up=look_up)

    def manager(self, name: str = "", listeners: Iterable[TokenListener] = ()) -> TokenManager:
        """Return the manager *name*; see :func:`from_config`."""
        parts = self.parts(name)
        return TokenManager(
            parts.source, parts.storage, policy=parts.policy, background=parts.background, listeners=listeners
        )


def from_config(config: Mapping[str, Any] | str | os.PathLike[str], name: str) -> TokenManager:
    """Return the manager that the table *name* of a configuration describes.

    Everything is checked here and nothing is fetched. A secret given as ``env:NAME``, ``file:PATH`` or
    ``keyring:SERVICE/USER`` is read at each fetch, so that a rotated one is seen.

    Args:
        config: The path of a TOML file, or what one holds: a table for each manager, by name.
        name: Which one.

    Raises:
        ConfigurationError: The file cannot be read; there is no such table; a key in it is unknown, missing or of
            the wrong type. The message names the key and never shows a value.
    """
    return Configuration(config).manager(name)


def from_env(prefix: str = "TOKENKIT") -> TokenManager:
    """Return the manager that environment variables describe: the same keys, in capitals, after *prefix*.

    Secrets are read at each fetch, as those of :func:`from_config` are, so a variable must stay set. ``NAME_FILE`` in
    place of a secret's ``NAME`` is the path of a file that holds it.

    Args:
        prefix: What the variables' names begin with, before an underscore. Each one must be known.

    Raises:
        ConfigurationError: There is no such variable; one is unknown, missing or of the wrong type.
    """
    return Configuration.from_environment(prefix).manager()
