"""The tables of a configuration file."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tokenkit.config._schema import Location, closest
from tokenkit.errors import ConfigurationError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

__all__ = ["table_named", "tables_in", "tables_of"]

_TWICE = re.compile(r"Can ?not (declare|overwrite|mutate)|Duplicate")
_POSITION = re.compile(r"\(at [a-z0-9, ]+\)\Z")


def tables_of(config: Mapping[str, Any] | str | os.PathLike[str]) -> Mapping[str, Any]:
    """Return what the TOML file *config* holds, or *config* itself if it is a mapping.

    Raises:
        ConfigurationError: The file cannot be read, or is not TOML. The message tells the place and no content.
    """
    if isinstance(config, Mapping):
        return config
    if not isinstance(config, (str, os.PathLike)):
        raise ConfigurationError(f"config must be a mapping or the path of a TOML file, not {type(config).__name__}")
    try:
        text = Path(config).expanduser().read_text(encoding="utf-8-sig")
    except OSError as error:
        problem = f"cannot be read ({error.strerror or type(error).__name__})"
    except UnicodeDecodeError:  # it keeps the content
        problem = "is not UTF-8 text"
    except ValueError:
        problem = "is no path"
    else:
        return tables_in(text, os.fspath(config))
    raise ConfigurationError(f"{os.fspath(config)} {problem}")


def tables_in(text: str, place: str) -> Mapping[str, Any]:
    """Return what the TOML *text* holds, which came from *place*.

    Raises:
        ConfigurationError: It is not TOML. The message tells the position and no content.
    """
    try:
        tables: dict[str, Any] = tomllib.loads(text)
        return tables
    except tomllib.TOMLDecodeError as error:  # its text may quote a secret, and it keeps the content
        found = _POSITION.search(str(error))
        twice = ": a key or a table stands there twice" if _TWICE.match(str(error)) else ""
        problem = f"is not TOML{twice} {found[0] if found else ''}".rstrip()
    except (ValueError, RecursionError):
        problem = "is not TOML: a number in it is too long, or something is nested too deep"
    raise ConfigurationError(f"{place} {problem}")


def table_named(tables: Mapping[str, Any], name: str) -> tuple[Mapping[str, Any], Location]:
    """Return the table *name* of *tables*, and its place.

    Raises:
        ConfigurationError: There is none.
    """
    place = Location(name)
    if name not in tables:
        known = [one for one, table in tables.items() if isinstance(table, Mapping)]
        near = closest(name, known)
        listed = (
            f"; there are {', '.join(str(Location(one)) for one in known)}"
            if known
            else "; keys stand below a line such as [orders]"
        )
        raise ConfigurationError(f"there is no table {place}{f'; the nearest is {Location(near)}' if near else listed}")
    table = tables[name]
    if not isinstance(table, Mapping):
        raise ConfigurationError(f"{place} must be a table, with the keys of one manager")
    return table, place
