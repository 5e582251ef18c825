"""The commands about a person's grant, or any stored token: login, logout, forget."""

from __future__ import annotations

import argparse
from contextlib import closing

from tokenkit._sources.grants import take_out
from tokenkit.cli._managers import configuration, name_in, opened
from tokenkit.cli._tokens import told, write
from tokenkit.clock import SystemClock
from tokenkit.errors import ConfigurationError
from tokenkit.events import TokenListener
from tokenkit.pipeline import PipelineTokenProvider

__all__ = ["forget", "login", "logout"]

_PATIENCE = 300.0  # seconds that a person has


def login(asked: argparse.Namespace, listeners: list[TokenListener]) -> None:
    """Ask a person to sign in, and tell about the token without the secret."""
    with opened(asked, listeners) as manager:
        told(manager.sign_in(timeout=_PATIENCE if asked.timeout is None else asked.timeout))


def logout(asked: argparse.Namespace, listeners: list[TokenListener]) -> None:
    """Revoke what is stored, and take it out of the storage; what cannot be revoked stays, to be revoked later."""
    with opened(asked, listeners) as manager:
        manager.stop()
        if not manager._revoke():  # close(revoke=True) would only log what fails
            raise ConfigurationError("this source has nothing to revoke: 'tokenkit forget' takes out what is stored")


def forget(asked: argparse.Namespace, listeners: list[TokenListener]) -> None:
    """Take what is stored out of the storage, without any network: the server still takes it."""
    config, where = configuration(asked)
    parts = config.parts(name_in(config, where, asked.name))
    source, storage = parts.source, parts.storage
    if isinstance(source, PipelineTokenProvider):
        with closing(source):
            source.pipeline.forget()
    elif storage is None:
        raise ConfigurationError(f"{parts.place} has no storage")
    else:
        with closing(storage):
            take_out(storage, source.cache_key, source.grant_key, None, lambda _token: None, SystemClock().now())
    write(f"{parts.place} is forgotten here")
