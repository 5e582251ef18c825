"""The commands that tell of a token or of the configuration: token, show, status, list, check."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from contextlib import closing

from tokenkit.cli._formats import facts, formatted
from tokenkit.cli._managers import configuration, name_in, opened
from tokenkit.config import Configuration
from tokenkit.errors import AuthenticationError, ConfigurationError, TokenKitError
from tokenkit.events import TokenListener
from tokenkit.manager import TokenManager
from tokenkit.pipeline import PipelineTokenProvider
from tokenkit.policy import RefreshPolicy
from tokenkit.tokens import Token

__all__ = ["check", "fresh_token", "list_names", "show", "status", "token"]


def token(asked: argparse.Namespace, listeners: list[TokenListener]) -> None:
    """Print an access token."""
    with opened(asked, listeners) as manager:
        found = fresh_token(manager, asked.timeout, min_valid=asked.min_valid, force=asked.force)
    write(formatted(found, asked.format))


def show(asked: argparse.Namespace, listeners: list[TokenListener]) -> None:
    """Print what is known of a token, without the secret."""
    with opened(asked, listeners) as manager:
        told(fresh_token(manager, asked.timeout))


def fresh_token(
    manager: TokenManager, timeout: float | None, *, min_valid: float | None = None, force: bool = False
) -> Token:
    """Return a token that is good for a while: one that is due is renewed first, and given if that fails.

    Args:
        manager: Where it comes from.
        timeout: Seconds to wait; None: as long as an attempt may take.
        min_valid: Seconds that it must be good for at least; one that is not is renewed, or refused. None: any.
        force: Whether to renew whatever is held.

    Raises:
        AuthenticationError: There is none to be had, or none that is good for that long.
    """
    if force:
        return manager.force_refresh(timeout)
    held = manager.get_token(timeout)
    if _is_due(held, min_valid):
        try:
            held = manager.force_refresh(timeout)
        except TokenKitError:
            if min_valid is not None:
                raise
    left = held.expires_in()
    if min_valid is not None and left is not None and left < min_valid:
        raise AuthenticationError(f"the newest token is good for {int(left)} seconds only, not for {min_valid:g}")
    return held


def _is_due(held: Token, min_valid: float | None) -> bool:
    left = held.expires_in()
    if left is None:
        return False
    if min_valid is not None and left < min_valid:
        return True
    lifetime = (held.expires_at - held.issued_at).total_seconds() if held.expires_at and held.issued_at else 0.0
    return left < lifetime * (1 - RefreshPolicy().lifetime_safe_fraction)


def status(asked: argparse.Namespace, listeners: list[TokenListener]) -> None:
    """Print what the storage has of each manager; no network."""
    config, where = configuration(asked)
    names = config.names if asked.name is None else (name_in(config, where, asked.name),)
    for name in names:
        parts = config.parts(name)
        write(f"{parts.place}")
        if isinstance(parts.source, PipelineTokenProvider):
            with closing(parts.source):
                for step, held in parts.source.pipeline.stored().items():
                    write(f"  {step}")
                    _tell_stored(held, "    ")
        elif parts.storage is None:
            write("  it has no storage")
        else:
            with closing(parts.storage):
                _tell_stored(parts.storage.get(parts.source.cache_key), "  ")


def _tell_stored(held: Token | None, indent: str) -> None:
    if held is None:
        write(f"{indent}nothing is stored")
    else:
        told(held, indent)


def list_names(asked: argparse.Namespace, listeners: list[TokenListener]) -> None:
    """Print the names of the managers that the configuration describes."""
    config, _where = configuration(asked)
    for name in config.names:
        if name:
            write(name)


def check(asked: argparse.Namespace, listeners: list[TokenListener]) -> None:
    """Check the configuration, without any network."""
    config, where = configuration(asked)
    names = (config.names if asked.name is None else ()) or (name_in(config, where, asked.name),)
    for name in names:
        _check_one(config, name, look_up=asked.secrets)


def _check_one(config: Configuration, name: str, *, look_up: bool) -> None:
    parts = config.parts(name, look_up=look_up)
    for reference in parts.references if look_up else ():
        _look_up(reference, parts.place)
    write(f"{parts.place} is good")


def _look_up(read: Callable[[], object], place: str) -> None:
    try:
        read()
        return
    except AuthenticationError as error:
        problem = error.message
    raise ConfigurationError(f"{place}: {problem}")


def told(held: Token, indent: str = "") -> None:
    """Print what may be said of *held* to anybody."""
    for name, value in facts(held).items():
        write(f"{indent}{name + ':':15}{value}")


def write(line: str) -> None:
    """Write *line* to standard output; letters that it cannot show are written by their code points."""
    encoding = sys.stdout.encoding or "utf-8"
    sys.stdout.write(f"{line}\n".encode(encoding, "backslashreplace").decode(encoding))
