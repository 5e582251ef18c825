"""The command ``tokenkit``: a token, or what is known of it, for scripts, for programs of any language, and for people.

It reads the configuration of :mod:`tokenkit.config`. What it prints of a token is the token itself (``token``) or
nothing secret.
"""

from __future__ import annotations

import argparse
import errno
import logging
import os
import re
import runpy
import sys
from collections.abc import Callable, Sequence
from importlib.metadata import version
from typing import Any, final

from tokenkit.cli._completion import SHELLS, script
from tokenkit.cli._files import reason
from tokenkit.cli._formats import FORMATS
from tokenkit.cli._grants import forget, login, logout
from tokenkit.cli._sidecar import execute, keep
from tokenkit.cli._tokens import check, list_names, show, status, token, write
from tokenkit.errors import (
    ConfigurationError,
    SignInRequiredError,
    TokenKitError,
)
from tokenkit.events import TokenEvent, TokenListener

__all__ = ["main"]

logger: logging.Logger = logging.getLogger("tokenkit.cli")

_EPILOG = """\
exit status:
  0   done
  1   there is no token to be had, or it cannot be written
  2   the configuration or the command line is wrong
  75  no token for now; the same command may succeed later
  77  a person must sign in
  130 interrupted (Ctrl-C)

example:
  tokenkit token --config tokens.toml --format header orders | curl -H @- https://api.example.com/orders
"""
_NO_TOKEN, _WRONG, _LATER, _SIGN_IN, _INTERRUPTED = 1, 2, 75, 77, 130  # EX_TEMPFAIL, EX_NOPERM; 128 and SIGINT
_Command = Callable[[argparse.Namespace, list[TokenListener]], "int | None"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status. An error is one line on standard error.

    Args:
        arguments: The command line; None: that of the process.

    Returns:
        0 when it is done, 1 where there is no token to be had or it cannot be written, 2 where the configuration is
        wrong, 75 where the same command may succeed later, 77 where a person must sign in, and 130 after Ctrl-C. Of
        ``exec``, what the command that it runs returns.

    Raises:
        SystemExit: The command line is wrong (2), or asks for help or the version (0).
    """
    words, command_line = _split(list(sys.argv[1:] if arguments is None else arguments))
    parser = _parser()
    asked = parser.parse_args(words)
    if (asked.command is execute) != bool(command_line):
        asked.parser.error("exec takes a command after --, and nothing else does")
    asked.command_line = command_line
    logging.basicConfig(level=logging.INFO if asked.verbose else asked.log_level)
    command: _Command = asked.command
    try:
        if sys.stdout is None and command not in (execute, keep):  # closed by who started this; these two write nothing
            raise OSError(errno.EBADF, os.strerror(errno.EBADF), "standard output")
        done = command(asked, [_Narrator()] if asked.verbose else [])
        if sys.stdout is not None:
            sys.stdout.flush()
    except KeyboardInterrupt:
        return _INTERRUPTED
    except BrokenPipeError:  # the reader has gone; closing standard output again would complain
        sys.stdout = None
        return _NO_TOKEN
    except TokenKitError as error:
        _complain(str(error))
        return _status(error)
    except OSError as error:  # such as a full disk; closing standard output again would complain too
        sys.stdout = None
        _complain(reason(error))
        return _NO_TOKEN
    return done or 0


def _complain(problem: str) -> None:
    if sys.stderr is not None:  # closed by who started this: the status tells
        sys.stderr.write(f"tokenkit: {problem}\n")


def _split(given: list[str]) -> tuple[list[str], list[str]]:
    """Return what stands before ``--`` and after it."""
    border = given.index("--") if "--" in given else len(given)
    return given[:border], given[border + 1 :]


def _status(error: TokenKitError) -> int:
    if isinstance(error, ConfigurationError):
        return _WRONG
    if isinstance(error, SignInRequiredError) or isinstance(error.__cause__, SignInRequiredError):
        return _SIGN_IN
    return _LATER if error.transient else _NO_TOKEN


@final
class _Narrator(TokenListener):
    """Logs what was asked, and how it ended. An event has no secret."""

    def token_acquire(self, event: TokenEvent) -> None:
        self._tell("asked for a token", event)

    def cache_refresh(self, event: TokenEvent) -> None:
        self._tell("looked into the storage", event)

    def cache_store(self, event: TokenEvent) -> None:
        self._tell("wrote to the storage", event)

    def _tell(self, what: str, event: TokenEvent) -> None:
        logger.info("%s: %s: %s", event.service_name, what, event.result)


def _demo(asked: argparse.Namespace, listeners: list[TokenListener]) -> int:
    # By name: the kit is for tests, and nothing else of the package knows it.
    status: int = runpy.run_module("tokenkit.testing.demo")["main"]()
    return status


def _complete(asked: argparse.Namespace, listeners: list[TokenListener]) -> None:
    parser = _parser()
    write(script(asked.shell, parser, _commands_of(parser)).rstrip())


def _commands_of(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    return next(dict(one.choices) for one in parser._actions if isinstance(one, argparse._SubParsersAction))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="tokenkit",
        description="Get, keep and look at access tokens.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"tokenkit {version('requests-tokenkit')}")
    parser.set_defaults(log_level=logging.CRITICAL, verbose=False)
    add = _Commands(parser.add_subparsers(title="commands", required=True, metavar="COMMAND"))
    getting = add("token", token, "print an access token")
    _say_how(getting)
    getting.add_argument("--min-valid", type=_seconds, metavar="SECONDS", help="renew one that is good for less")
    getting.add_argument("--force", action="store_true", help="renew it, whatever is held")
    add("show", show, "get a token and tell about it, without the secret")
    add("status", status, "tell what the storage has, without any network")
    add("list", list_names, "print the names of the configuration")
    checking = add("check", check, "check the configuration, without any network")
    checking.add_argument(
        "--no-secrets", dest="secrets", action="store_false", help="do not look whether secrets are in their places"
    )
    add("login", login, "ask a person to sign in")
    add("logout", logout, "revoke what is stored, and forget it")
    add("forget", forget, "forget what is stored, without any network")
    running = add("exec", execute, "run the command after -- with a token in TOKENKIT_TOKEN and TOKENKIT_TOKEN_FILE")
    running.usage = "%(prog)s [OPTION ...] [NAME] -- COMMAND [ARGUMENT ...]"
    _add_keep(add)
    add("demo", _demo, "see it work: 16 threads, an outage, a revocation; 20 seconds, no network", common=False)
    completing = add("completion", _complete, "print completions for a shell to evaluate", common=False)
    completing.add_argument("shell", choices=SHELLS)
    return parser


def _add_keep(add: _Commands) -> None:
    keeping = add("keep", keep, "keep a storage, and a file, fresh until SIGTERM")
    keeping.set_defaults(log_level=logging.WARNING)
    keeping.add_argument("--write", metavar="PATH", help="a file that always holds a good token")
    _say_how(keeping)
    keeping.add_argument("--mode", type=_mode, default=0o600, help="its permissions (default: 600)")
    keeping.add_argument("--owner", metavar="USER[:GROUP]", help="whom it is given to")
    keeping.add_argument("--once", action="store_true", help="see to it once, and end")
    keeping.add_argument("--health", metavar="PATH|PORT", help="a file that is there, or a port, while all is well")


@final
class _Commands:
    """Adds commands that share their options."""

    def __init__(self, subparsers: Any) -> None:
        self._subparsers = subparsers

    def __call__(self, name: str, command: _Command, told: str, *, common: bool = True) -> argparse.ArgumentParser:
        parser: argparse.ArgumentParser = self._subparsers.add_parser(name, help=told, description=told)
        parser.set_defaults(command=command, parser=parser)
        if common:
            parser.add_argument("name", metavar="NAME", nargs="?", help="a table, or module:object; needless for one")
            parser.add_argument("--config", metavar="FILE", help="a TOML file, - for standard input")
            parser.add_argument("--prefix", help="what environment variables begin with (default: TOKENKIT)")
            parser.add_argument("--timeout", type=_seconds, metavar="SECONDS", help="how long to wait for a token")
            parser.add_argument("--verbose", action="store_true", help="tell on standard error what happens")
        return parser


def _say_how(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--format", choices=FORMATS, default="text", help="how it is written (default: %(default)s)")


def _mode(text: str) -> int:
    if not re.fullmatch("[0-7]{3,4}", text):
        raise argparse.ArgumentTypeError("must be octal, such as 640")
    return int(text, 8)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < float("inf"):
        raise argparse.ArgumentTypeError("must be seconds, at least 0")
    return seconds
