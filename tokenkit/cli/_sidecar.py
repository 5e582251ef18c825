"""The commands that keep a token fresh while another program runs: exec and keep."""

from __future__ import annotations

import argparse
import logging
import os
import queue
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import final

from tokenkit.cli._files import TokenFile, owner_named, reason
from tokenkit.cli._formats import instant
from tokenkit.cli._health import Health
from tokenkit.cli._managers import opened
from tokenkit.cli._tokens import fresh_token
from tokenkit.clock import SystemClock
from tokenkit.errors import TokenKitError
from tokenkit.events import TokenEvent, TokenListener
from tokenkit.manager import TokenManager

__all__ = ["execute", "keep"]

logger: logging.Logger = logging.getLogger("tokenkit.cli")

_LONGEST_NAP = 5.0  # seconds
_NAP_IN_TROUBLE = 1.0  # seconds: how late a lost storage or a full disk is tried again
_ENDS = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name))  # no SIGHUP on Windows
_PASSED_ON = tuple(getattr(signal, name) for name in ("SIGQUIT", "SIGUSR1", "SIGUSR2") if hasattr(signal, name))
_clock = SystemClock()


@final
class _Wake(TokenListener):
    """Ends a nap when another token is held. Safe in a signal handler, too."""

    def __init__(self) -> None:
        self.mailbox: queue.SimpleQueue[None] = queue.SimpleQueue()
        self.signals: queue.SimpleQueue[int] = queue.SimpleQueue()  # that came and were not dealt with yet

    def token_lifetime(self, event: TokenEvent) -> None:
        self.mailbox.put(None)

    def on_signal(self, number: int, _frame: object) -> None:
        self.signals.put(number)
        self.mailbox.put(None)


@contextmanager
def _heeding(wake: _Wake, *numbers: int) -> Iterator[None]:
    heeded = [number for number in numbers if signal.getsignal(number) is not signal.SIG_IGN]  # as nohup has it
    before = {number: signal.signal(number, wake.on_signal) for number in heeded}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@final
class _Streak:
    """Says once that what is kept is not fresh, and once that it is again."""

    def __init__(self) -> None:
        self.lasts = False

    def goes_on(self, error: TokenKitError | OSError) -> None:
        if not self.lasts:  # the manager logs its own trouble; a full disk is nobody else's to tell
            said = str(error) if isinstance(error, TokenKitError) else reason(error)
            logger.warning("not fresh: %s [not-fresh]", said)
        self.lasts = True

    def ends(self) -> None:
        if self.lasts:
            logger.warning("fresh again [not-fresh]")
        self.lasts = False


def keep(asked: argparse.Namespace, listeners: list[TokenListener]) -> None:
    """Keep a shared storage, and a file, fresh until SIGTERM, SIGHUP or Ctrl-C; with ``--once``, see to it once."""
    wake = _Wake()
    target = None
    if asked.write is not None:
        owner = None if asked.owner is None else owner_named(asked.owner)
        target = TokenFile(Path(asked.write), asked.format, asked.mode, owner)
    with opened(asked, [*listeners, wake]) as manager:
        if asked.once:
            token = fresh_token(manager, asked.timeout)
            if target is not None:
                target.write(token)
            return
        with _heeding(wake, *_ENDS), Health.at(asked.health) as health:
            _keep(manager, target, health, wake)


def _keep(manager: TokenManager, target: TokenFile | None, health: Health, wake: _Wake) -> None:
    written = None
    streak = _Streak()
    while wake.signals.empty():
        try:
            token = manager.get_token()
            if target is not None and token != written:
                target.write(token)
                written = token
            health.tell("never" if token.expires_at is None else instant(token.expires_at))
            streak.ends()
        except (TokenKitError, OSError) as error:
            streak.goes_on(error)
            health.tell(None)
        if wake.signals.empty():
            _clock.nap(wake.mailbox, _NAP_IN_TROUBLE if streak.lasts else _LONGEST_NAP)


def execute(asked: argparse.Namespace, listeners: list[TokenListener]) -> int:
    """Run a command with a token in its environment, and a file that is kept fresh while it runs.

    Returns:
        The status of the command; 128 and the signal's number where a signal ended it.
    """
    wake = _Wake()
    with opened(asked, [*listeners, wake]) as manager:
        token = fresh_token(manager, asked.timeout)
        with (
            _heeding(wake, signal.SIGINT, *_ENDS, *_PASSED_ON),  # first: the file is taken away, whatever comes
            tempfile.TemporaryDirectory(prefix="tokenkit-") as directory,  # 0700
        ):
            target = TokenFile(Path(directory, "token"))
            target.write(token)
            names = {"TOKENKIT_TOKEN": token.access_token, "TOKENKIT_TOKEN_FILE": str(target.path)}
            with subprocess.Popen(asked.command_line, env={**os.environ, **names}) as child:
                status = _attend(child, manager, target, wake)
    return status if status >= 0 else 128 - status


def _attend(child: subprocess.Popen[bytes], manager: TokenManager, target: TokenFile, wake: _Wake) -> int:
    written = manager.current
    streak = _Streak()
    while (status := child.poll()) is None:
        while not wake.signals.empty():
            # Ctrl-C reaches the whole group by itself; anything else is passed on.
            if (number := wake.signals.get()) != signal.SIGINT:
                child.send_signal(number)
        try:
            token = manager.get_token(0)
            if token != written:
                target.write(token)
                written = token
            streak.ends()
        except (TokenKitError, OSError) as error:
            streak.goes_on(error)
        _clock.nap(wake.mailbox, 0.2)
    return status
