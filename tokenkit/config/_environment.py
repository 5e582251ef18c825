"""Environment variables as a configuration's table: TOKENKIT_CLIENT_ID is its key ``client_id``."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from tokenkit._secrecy.references import is_marked
from tokenkit.config._parts import own_keys, storage_class, storage_keys
from tokenkit.config._schema import Key, Location, keys_of
from tokenkit.errors import ConfigurationError
from tokenkit.policy import RefreshPolicy

__all__ = ["table_of_environment"]


def table_of_environment(prefix: str) -> tuple[dict[str, Any], Location]:
    """Return what the variables say whose names begin with *prefix* and an underscore, and where that stands.

    A secret becomes a reference to its variable: it is read at each try, and is no part of a pickle.

    Raises:
        ConfigurationError: There is none; two exclude each other; a choice among them is none.
    """
    start = prefix.rstrip("_")
    texts = {
        name.removeprefix(f"{start}_").lower(): text
        for name, text in os.environ.items()
        if start and name.startswith(f"{start}_") and text
    }
    if not texts:
        raise ConfigurationError(f"no environment variable begins with {start}_")
    place = Location(start.lower(), start)
    storage, policy = _taken(texts, "storage"), _taken(texts, "policy")
    keys, secrets = own_keys(texts, place)
    table = _values(texts, keys, place)
    for key in set(secrets).intersection(texts):
        if isinstance(table[key], str) and not is_marked(table[key]):
            table[key] = f"env:{place.label(key)}"
    if storage:
        below = place.below("storage")
        table["storage"] = _values(storage, storage_keys(storage_class(storage, below)[0]), below)
    if policy:
        table["policy"] = _values(policy, keys_of(RefreshPolicy), place.below("policy"))
    return table, place


def _taken(texts: dict[str, str], section: str) -> dict[str, str]:
    """Take the texts of *section* out of *texts*. The section's own name is short for its type."""
    found = {name: name.removeprefix(f"{section}_") for name in texts if name.startswith(f"{section}_")}
    taken = {key: texts.pop(name) for name, key in found.items()}
    if section == "storage" and section in texts:
        taken.setdefault("type", texts.pop(section))
    return taken


def _values(texts: Mapping[str, str], keys: Mapping[str, Key], place: Location) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for name, text in texts.items():
        secret = name.removesuffix("_file")
        if name in keys or secret not in keys or not keys[secret].is_secret:
            values[name] = keys[name].parsed(text) if name in keys else text
        elif secret in texts:
            raise ConfigurationError(f"{place.label(secret)} and {place.label(name)} exclude each other")
        else:
            values[secret] = f"file:{text}"
    return values
