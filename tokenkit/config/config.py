"""Managers from configuration: a TOML file, a mapping, or environment variables, by one schema.

The schema is in the how-to on configuration. Its keys are the arguments of the fetchers, storages and the policy
under their own names, so that they cannot drift apart.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from tokenkit.config._environment import table_of_environment
from tokenkit.config._parts import Blueprint, blueprint
from tokenkit.config._toml import table_named, tables_of
from tokenkit.manager import TokenManager

__all__ = ["from_config", "from_env"]


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
    return _manager(blueprint(*table_named(tables_of(config), name)))


def from_env(prefix: str = "TOKENKIT") -> TokenManager:
    """Return the manager that environment variables describe: the same keys, in capitals, after *prefix*.

    Secrets are read at each fetch, as those of :func:`from_config` are, so a variable must stay set. ``NAME_FILE`` in
    place of a secret's ``NAME`` is the path of a file that holds it.

    Args:
        prefix: What the variables' names begin with, before an underscore. Each one must be known.

    Raises:
        ConfigurationError: There is no such variable; one is unknown, missing or of the wrong type.
    """
    return _manager(blueprint(*table_of_environment(prefix)))


def _manager(parts: Blueprint) -> TokenManager:
    return TokenManager(parts.source, parts.storage, policy=parts.policy, background=parts.background)
