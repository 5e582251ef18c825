"""The command ``tokenkit``: an access token, or what is known of it, for scripts and for people.

It reads the configuration of :mod:`tokenkit.config`, from a file or from environment variables. What it prints of a
token is the token itself (``token``) or nothing secret (``show``, ``check``).
"""

from __future__ import annotations

import argparse
import logging
import runpy
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, final

from tokenkit.config._environment import table_of_environment
from tokenkit.config._parts import blueprint
from tokenkit.config._schema import Location
from tokenkit.config._toml import table_named, tables_of
from tokenkit.errors import AuthenticationError, ConfigurationError, RenewalTimeoutError, TokenKitError
from tokenkit.events import TokenEvent, TokenListener
from tokenkit.manager import TokenManager
from tokenkit.tokens import Token

__all__ = ["main"]

logger = logging.getLogger("tokenkit.cli")

_EPILOG = """\
exit status:
  0   done
  1   there is no token to be had, or it cannot be written
  2   the configuration or the command line is wrong
  75  no token for now; the same command may succeed later
  130 interrupted (Ctrl-C)

example:
  tokenkit token --config tokens.toml --header orders | curl -H @- https://api.example.com/orders
"""
_NO_TOKEN, _WRONG, _LATER, _INTERRUPTED = 1, 2, 75, 130  # 75 is EX_TEMPFAIL of sysexits.h; 130, 128 and SIGINT


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status. An error is one line on standard error.

    Args:
        arguments: The command line; None: that of the process.

    Returns:
        0 when it is done, 1 where there is no token to be had or it cannot be written, 2 where the configuration is
        wrong, 75 where the same command may succeed later, and 130 after Ctrl-C.

    Raises:
        SystemExit: The command line is wrong (2), or asks for help (0).
    """
    asked = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.INFO if asked.verbose else logging.CRITICAL)
    command: Callable[[argparse.Namespace], None] = asked.command
    try:
        command(asked)
        sys.stdout.flush()
    except KeyboardInterrupt:
        return _INTERRUPTED
    except BrokenPipeError:  # the reader has gone; closing standard output again would complain
        sys.stdout = None
        return _NO_TOKEN
    except TokenKitError as error:
        sys.stderr.write(f"tokenkit: {error}\n")
        return _status(error)
    except OSError as error:  # such as a full disk; closing standard output again would complain too
        sys.stdout = None
        sys.stderr.write(f"tokenkit: {error.strerror or type(error).__name__}\n")
        return _NO_TOKEN
    return 0


def _status(error: TokenKitError) -> int:
    if isinstance(error, ConfigurationError):
        return _WRONG
    is_transient = isinstance(error, AuthenticationError) and error.transient
    return _LATER if is_transient or isinstance(error, RenewalTimeoutError) else _NO_TOKEN


def _token(asked: argparse.Namespace) -> None:
    token = _get_token(asked)
    _print(f"Authorization: {token.authorization}" if asked.header else token.access_token)


def _show(asked: argparse.Namespace) -> None:
    for name, value in _facts(_get_token(asked)).items():
        _print(f"{name + ':':15}{value}")


def _get_token(asked: argparse.Namespace) -> Token:
    manager, grace = _manager(asked), None
    try:
        return manager.get_token()
    except KeyboardInterrupt:
        grace = 0.0  # what hangs, hangs on in a thread that ends with the process
        raise
    finally:
        manager.close(grace)


def _facts(token: Token) -> dict[str, object]:
    left = token.expires_in()
    return {
        "type": token.token_type,
        "fingerprint": token.fingerprint,
        "expires": "never" if token.expires_at is None else token.expires_at.isoformat(timespec="seconds"),
        "seconds left": "unlimited" if left is None else int(left),
        "scope": token.scope or "not told",
        "refresh token": "yes" if token.refresh_token else "no",
    }


def _check(asked: argparse.Namespace) -> None:
    for table, place in _asked_tables(asked):
        parts = blueprint(table, place, look_up=asked.secrets)
        for reference in parts.references if asked.secrets else ():
            _look_up(reference, place)
        _print(f"{place} is good")


def _look_up(read: Callable[[], object], place: Location) -> None:
    try:
        read()
        return
    except AuthenticationError as error:
        problem = error.message
    raise ConfigurationError(f"{place}: {problem}")


def _asked_tables(asked: argparse.Namespace) -> Iterator[tuple[Mapping[str, Any], Location]]:
    if asked.config is None:
        _refuse_name(asked)
        yield table_of_environment(asked.prefix)
        return
    tables = tables_of(asked.config)
    for name in tables if asked.name is None else (asked.name,):
        yield table_named(tables, name)


def _asked_table(asked: argparse.Namespace) -> tuple[Mapping[str, Any], Location]:
    if asked.config is None:
        _refuse_name(asked)
        return table_of_environment(asked.prefix)
    tables = tables_of(asked.config)
    if asked.name is None and len(tables) != 1:
        raise ConfigurationError(f"say which table of {asked.config}: {', '.join(tables) or 'it has none'}")
    return table_named(tables, asked.name or next(iter(tables)))


def _manager(asked: argparse.Namespace) -> TokenManager:
    parts = blueprint(*_asked_table(asked))
    listeners = [_Narrator()] if asked.verbose else []
    return TokenManager(
        parts.source, parts.storage, policy=parts.policy, background=parts.background, listeners=listeners
    )


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


def _demo(asked: argparse.Namespace) -> None:
    # By name: the kit is for tests, and nothing else of the package knows it.
    failed = runpy.run_module("tokenkit.testing.demo")["main"]()
    if failed:
        raise AuthenticationError("a request of the demo failed")


def _refuse_name(asked: argparse.Namespace) -> None:
    if asked.name is not None:
        raise ConfigurationError("NAME is a table of a file: give --config FILE")


def _print(line: str) -> None:
    sys.stdout.write(f"{line}\n")


def _parser() -> argparse.ArgumentParser:
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("name", metavar="NAME", nargs="?", help="the table in FILE; needless where there is one only")
    common.add_argument("--config", metavar="FILE", help="a TOML file; without it, environment variables are read")
    common.add_argument("--prefix", default="TOKENKIT", help="what their names begin with (default: %(default)s)")
    common.add_argument("--verbose", action="store_true", help="tell on standard error what happens")
    parser = argparse.ArgumentParser(
        prog="tokenkit",
        description="Get and look at access tokens.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    token = commands.add_parser("token", parents=[common], help="print an access token")
    token.add_argument("--header", action="store_true", help="print the whole Authorization header")
    token.set_defaults(command=_token)
    show = commands.add_parser("show", parents=[common], help="get a token and tell about it, without the secret")
    show.set_defaults(command=_show)
    check = commands.add_parser("check", parents=[common], help="check the configuration, without any network")
    check.add_argument(
        "--no-secrets", dest="secrets", action="store_false", help="do not look whether secrets are in their places"
    )
    check.set_defaults(command=_check)
    demo = commands.add_parser("demo", help="see it work: 16 threads, an outage, a revocation; 20 seconds, no network")
    demo.set_defaults(command=_demo, verbose=False)
    return parser
