"""A fetcher that runs a program: ``gcloud``, ``az``, a kubectl credential plugin, or one of the user's own."""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Any, ClassVar, final

from tokenkit._checks import check_step, seconds
from tokenkit._dataclasses import KW_ONLY, dataclass
from tokenkit._secrecy.causes import without_frames
from tokenkit._secrecy.identity import cache_key, own_mark
from tokenkit._secrecy.pickling import SecretKeeper
from tokenkit._secrecy.references import from_context, given
from tokenkit.clock import SystemClock
from tokenkit.contracts import FetchContext, TokenFetcher
from tokenkit.errors import AuthenticationError, ConfigurationError, MalformedResponseError, SourceUnavailableError
from tokenkit.fetchers._answers import at_path, lifetime_beside
from tokenkit.tokens import Token

__all__ = ["CommandTokenFetcher"]

_MAX_OUTPUT = 1 << 20
_LONGEST_WAIT = 3600.0  # seconds; a selector takes less than 25 days
_LAST_WAIT = 1.0  # seconds; enough for what can be killed, and Popen looks after the rest
# OAuth 2.0, az, gcloud, kubectl's ExecCredential, gcloud's config-helper, AWS CodeArtifact.
_TOKEN_FIELDS = (
    "access_token",
    "accessToken",
    "token",
    "status.token",
    "credential.access_token",
    "authorizationToken",
)
_EXPIRY_FIELDS = (
    "expires_on",
    "expires_at",
    "status.expirationTimestamp",
    "credential.token_expiry",
    "expiration",
)
_clock = SystemClock()


@final
@dataclass(eq=False, repr=False)
class CommandTokenFetcher(SecretKeeper, TokenFetcher):
    """Runs a program whose standard output is a token, or JSON with one.

    No shell is involved. The program gets no standard input, and its standard error is this process's, as with
    kubectl. When its time is over, or its output is too long, it is killed with all that it started. Known are the
    answers of OAuth 2.0, ``gcloud``, ``az``, kubectl credential plugins and AWS CodeArtifact.

    Safe from any thread; each fetch runs a process of its own.

    Args:
        argv: The program and its arguments. Every user of the machine can see them: no place for a secret.
        name: The step's name.
        depends_on: The names of the steps whose tokens *env* reads from the context.
        ttl: A lifetime that overrides the answer's; None: the answer's, or that of a JWT, else for ever.
        timeout: Seconds that the program may run; the context's ``timeout`` shortens it. Where nothing is said: 30.
        env: Further environment variables, or a function that returns them, called with the context if it takes one.
            None: none.
        cwd: Where to run it; None: here.
        token_field: Where in the JSON the token is, as a dotted path; the output must then be JSON that has it. None:
            where the programs above have it; a JSON string is a token, too, and so is any other output of one word.
        expiry_field: Where the expiry is, epoch seconds or ISO 8601 with an offset; None: likewise.
        expires_in_field: Where the lifetime in seconds is, such as Vault's 'auth.lease_duration'. None: ``expires_in``.

    Raises:
        ConfigurationError: An argument is wrong.

    Example:
        >>> CommandTokenFetcher(["echo", "a-token"]).fetch().access_token
        'a-token'
    """

    argv: Sequence[str]
    _: KW_ONLY
    name: str = "command"
    depends_on: Sequence[str] = ()
    ttl: timedelta | None = None
    timeout: float = 30
    env: Mapping[str, str] | Callable[..., Mapping[str, str]] | None = None
    cwd: str | os.PathLike[str] | None = None
    token_field: str | None = None
    expiry_field: str | None = None
    expires_in_field: str | None = None

    secret_arguments: ClassVar[tuple[str, ...]] = ("env",)
    _opened: ClassVar[tuple[str, ...]] = ("_own",)

    def __post_init__(self) -> None:
        self.depends_on = check_step(self.name, self.depends_on, self.ttl)
        if isinstance(self.argv, (str, bytes)) or not self.argv or not all(isinstance(a, str) for a in self.argv):
            raise ConfigurationError("argv must be a sequence of strings, the program first; there is no shell")
        self.argv = tuple(self.argv)
        self.timeout = seconds("timeout", self.timeout, zero=False, infinite=False)
        self._open()

    def _open(self) -> None:
        self._own = own_mark()

    def __repr__(self) -> str:
        return f"<CommandTokenFetcher {self.name!r} runs {os.path.basename(self.argv[0])}>"  # noqa: PTH119  # not a path yet

    @property
    def cache_key(self) -> str:
        parts = {"argv": self.argv, "env": self.env or {}, "cwd": self.cwd, "field": self.token_field}
        return cache_key(f"{self.name}:{self.argv[0]}", parts, self._own)

    def fetch(self, context: FetchContext | None = None) -> Token:
        """Run the program.

        Raises:
            SourceUnavailableError: There is no such program.
            AuthenticationError: It cannot be run, failed, or took too long.
            MalformedResponseError: Its output is no token, or longer than 1 MiB.
        """
        return without_frames(lambda: self._token(given(context)), step_name=self.name)

    def _token(self, context: FetchContext) -> Token:
        limit = self.timeout if context.timeout is None else min(self.timeout, context.timeout)
        output = self._run({**os.environ, **(from_context(self.env, context) or {})}, limit)
        return Token.from_response(self._answer(output), now=context.now(), ttl=self.ttl)

    def _run(self, environment: Mapping[str, str], limit: float) -> bytes:
        end = _clock.monotonic() + limit
        try:
            process = subprocess.Popen(
                self.argv,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                env=environment,
                cwd=self.cwd,
                start_new_session=True,  # a group of its own, to be killed as a whole
            )
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or type(error).__name__
            kind = SourceUnavailableError if isinstance(error, FileNotFoundError) else AuthenticationError
        else:
            return self._finish(process, end)
        raise kind(f"{self.argv[0]} cannot be run: {reason}", step_name=self.name)

    def _finish(self, process: subprocess.Popen[bytes], end: float) -> bytes:
        try:
            output = _read(process, end)
            if output is not None and len(output) <= _MAX_OUTPUT:
                process.wait(max(0.0, end - _clock.monotonic()))
        except subprocess.TimeoutExpired:
            output = None
        finally:
            _kill_group(process)
        program = self.argv[0]
        if output is None:
            message = f"time-out: {program} took too long and was killed"
            raise AuthenticationError(message, step_name=self.name, transient=True)
        if len(output) > _MAX_OUTPUT:
            raise MalformedResponseError(f"{program} wrote more than 1 MiB", step_name=self.name)
        if process.returncode != 0:
            message = f"{program} failed with status {process.returncode}"
            raise AuthenticationError(message, step_name=self.name, transient=True)
        return output

    def _answer(self, output: bytes) -> dict[str, Any]:
        text = output.decode("utf-8", "replace").strip()
        if not text:
            raise MalformedResponseError(f"{self.argv[0]} wrote nothing", transient=True)
        answer = _json(text)
        if not isinstance(answer, (dict, list)) and not self.token_field:
            return {"access_token": self._word(text, answer)}
        if not isinstance(answer, (dict, list)):
            raise MalformedResponseError(f"{self.argv[0]} wrote no JSON, and token_field says where in it the token is")
        token = _first(answer, (self.token_field,) if self.token_field else _TOKEN_FIELDS)
        if token is None:
            raise MalformedResponseError(f"there is no token in what {self.argv[0]} wrote")
        named = answer if isinstance(answer, dict) else {}
        fields = {"access_token": token, "token_type": named.get("token_type") or named.get("tokenType")}
        seconds = named.get("expires_in") if self.expires_in_field is None else at_path(answer, self.expires_in_field)
        fields["expires_in"] = None if self.expiry_field else seconds
        fields["expires_at"] = _first(answer, (self.expiry_field,) if self.expiry_field else _EXPIRY_FIELDS)
        if not (self.expiry_field or self.expires_in_field or fields["expires_in"] or fields["expires_at"]):
            fields |= lifetime_beside(named)
        return fields

    def _word(self, text: str, answer: Any) -> str:
        """Return the token that the output is, where it is no JSON object."""
        if isinstance(answer, str) and answer:
            return answer
        looks_like_more = text[0] in "{[<" or text.endswith(":") or len(text.split()) != 1
        if answer is not None or text == "null" or looks_like_more:
            raise MalformedResponseError(
                f"{self.argv[0]} wrote something that is neither a token, one word alone, nor JSON that has one"
            )
        return text


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):  # not to be chained: a JSONDecodeError keeps the output
        return None


def _first(answer: Any, paths: Sequence[str]) -> Any:
    found = (at_path(answer, path) for path in paths)
    return next((one for one in found if one not in (None, "")), None)


def _read(process: subprocess.Popen[bytes], end: float) -> bytes | None:
    """Return the output, or a little more than its limit; None where it did not end in time."""
    assert process.stdout is not None
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        return _read_from(process.stdout.fileno(), selector, end)


def _read_from(descriptor: int, selector: selectors.BaseSelector, end: float) -> bytes | None:
    output = bytearray()
    while len(output) <= _MAX_OUTPUT:
        left = end - _clock.monotonic()
        if left <= 0:
            return None
        if not selector.select(min(left, _LONGEST_WAIT)):
            continue
        chunk = os.read(descriptor, 1 << 16)
        if not chunk:
            break
        output += chunk
    return bytes(output)


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    """Leave nothing of it running: not the program, nor what it started, unless that is another user's by now."""
    assert process.stdout is not None
    process.stdout.close()
    with suppress(ProcessLookupError, PermissionError):
        # The program is not waited for yet where it still runs, so its group's number is still its own.
        if process.returncode is None:
            if hasattr(os, "killpg"):
                os.killpg(process.pid, signal.SIGKILL)
            else:  # Windows has no groups: what the program started may go on
                process.kill()
    with suppress(subprocess.TimeoutExpired):
        process.wait(_LAST_WAIT)
