"""Which configuration a command means, and the managers in it."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path

from tokenkit.config import Configuration
from tokenkit.errors import ConfigurationError
from tokenkit.events import TokenListener
from tokenkit.manager import TokenManager

__all__ = ["configuration", "name_in", "opened"]

_PREFIX = "TOKENKIT"
_STANDARD_INPUT = "-"


def configuration(asked: argparse.Namespace) -> tuple[Configuration, str]:
    """Return the configuration that *asked* means, and what to call it.

    The first of these: ``--config``, the variable ``TOKENKIT_CONFIG``, environment variables where ``--prefix`` is
    given, the user's ``tokenkit.toml``, environment variables.

    Raises:
        ConfigurationError: It cannot be read.
    """
    path = asked.config or (None if asked.prefix else os.environ.get(f"{_PREFIX}_CONFIG"))
    if path is None and not asked.prefix and _own_file().is_file():
        path = str(_own_file())
    if path is None:
        prefix = asked.prefix or _PREFIX
        if not asked.prefix and not any(name.startswith(f"{_PREFIX}_") for name in os.environ):
            raise ConfigurationError(
                f"no configuration: give --config FILE; there is no {_own_file()}, and no environment variable begins"
                f" with {_PREFIX}_"
            )
        return Configuration.from_environment(prefix), f"{prefix.rstrip('_')}_*"
    if path == _STANDARD_INPUT:
        return Configuration.from_text(sys.stdin.read(), "standard input"), "standard input"
    return Configuration(path), path


def name_in(config: Configuration, where: str, name: str | None) -> str:
    """Return which manager of *config* is meant: *name*, or the only one.

    Raises:
        ConfigurationError: There are several, or none, or a name was given where none can be.
    """
    names = config.names
    if names == ("",) and name is not None:
        raise ConfigurationError("NAME is a table of a file: give --config FILE")
    if not names:
        raise ConfigurationError(f"{where} describes no manager: a table such as [orders] does")
    if name is None and len(names) != 1:
        raise ConfigurationError(f"say which table of {where}: {', '.join(names)}")
    return names[0] if name is None else name


@contextmanager
def opened(asked: argparse.Namespace, listeners: Iterable[TokenListener] = ()) -> Iterator[TokenManager]:
    """Give the manager that *asked* means, and close it; Ctrl-C waits for nothing."""
    manager, grace = _manager(asked, listeners), None
    try:
        yield manager
    except KeyboardInterrupt:
        grace = 0.0  # what hangs, hangs on in a thread that ends with the process
        raise
    finally:
        manager.close(grace)


def _manager(asked: argparse.Namespace, listeners: Iterable[TokenListener]) -> TokenManager:
    if asked.name and ":" in asked.name:
        return _imported(asked.name)
    config, where = configuration(asked)
    return config.manager(name_in(config, where, asked.name), listeners)


def _imported(name: str) -> TokenManager:
    """Return the manager that ``module:object`` names: a manager, or a function that returns one."""
    module, _, attribute = name.partition(":")
    sys.path.insert(0, "")  # the directory in which the command runs, as for python -m
    try:
        holder = import_module(module)
        found = getattr(holder, attribute, None)
        if callable(found) and not isinstance(found, TokenManager):
            found = found()
    except ModuleNotFoundError as error:
        problem = f"{name} cannot be had: there is no module {error.name!r}"
    except Exception as error:  # a user's module
        problem = f"{name} cannot be had: {type(error).__name__}"
    else:
        if isinstance(found, TokenManager):
            return found
        problem = f"{name} is no TokenManager, nor a function that returns one"
        if not hasattr(holder, attribute):
            problem = f"{name} cannot be had: {module} has no {attribute!r}"
    raise ConfigurationError(problem)


def _own_file() -> Path:
    home = os.environ.get("XDG_CONFIG_HOME") or Path("~", ".config")
    return Path(home, "tokenkit.toml").expanduser()
