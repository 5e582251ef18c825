"""How a package's face loads each of its names on first use (PEP 562), so that a program pays for what it uses.

A face has a stub beside it (``__init__.pyi``), which tells type checkers the same: a test holds one to the other.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module

__all__ = ["lazily"]


def lazily(
    package: str,
    homes: Mapping[str, Sequence[str]],
    extras: Mapping[str, str] | None = None,
) -> tuple[list[str], Callable[[str], object], Callable[[], list[str]]]:
    """Return ``__all__``, ``__getattr__`` and ``__dir__`` of a face.

    Args:
        package: The face's ``__name__``.
        homes: For each module of the package the public names that it gives; the module itself is an attribute, too.
        extras: For a module that needs an optional package, the extra to install.
    """
    home_of = {name: home for home, names in homes.items() for name in names}
    needed = extras or {}

    def give(name: str) -> object:
        if name in homes:
            return import_module(f"{package}.{name}")
        if name not in home_of:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        home = home_of[name]
        try:
            value: object = getattr(import_module(f"{package}.{home}"), name)
        except ModuleNotFoundError as error:
            if home not in needed:
                raise
            wanted = f"{name} needs the module {error.name}: pip install 'requests-tokenkit[{needed[home]}]'"
            raise ImportError(wanted, name=error.name) from error
        setattr(sys.modules[package], name, value)
        return value

    def names() -> list[str]:
        return sorted({*vars(sys.modules[package]), *home_of, *homes})

    return sorted(home_of), give, names
