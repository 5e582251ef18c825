"""The fetcher that runs a program."""

import json
import os
import signal
import sys
import time
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest

from tokenkit.contracts import FetchContext
from tokenkit.errors import AuthenticationError, ConfigurationError, MalformedResponseError
from tokenkit.fetchers import CommandTokenFetcher
from tokenkit.tokens import Token

SOON = 4102444800  # 2100-01-01


def prints(text: str, **options: Any) -> CommandTokenFetcher:
    return CommandTokenFetcher(["printf", "%s", text], **options)


def runs(script: str, **options: Any) -> CommandTokenFetcher:
    return CommandTokenFetcher(["sh", "-c", script], **options)


def failure(source: CommandTokenFetcher, context: FetchContext | None = None) -> AuthenticationError:
    with pytest.raises(AuthenticationError) as caught:
        source.fetch(context)
    assert "command" == caught.value.step_name
    assert caught.value.__context__ is None
    return caught.value


def test_output_is_the_token() -> None:
    """As gcloud auth print-access-token has it; white space around it does not count."""
    assert Token("abc").authorization == prints(" abc\n").fetch().authorization


@pytest.mark.parametrize(
    "answer",
    [
        {"access_token": "abc", "expires_in": 60, "token_type": "bearer"},
        {"accessToken": "abc", "expiresOn": "2099-12-31 10:00:00", "expires_on": SOON, "tokenType": "Bearer"},
        {"kind": "ExecCredential", "status": {"token": "abc", "expirationTimestamp": "2100-01-01T00:00:00Z"}},
        {"credential": {"access_token": "abc", "token_expiry": "2100-01-01T00:00:00Z"}},
        {"authorizationToken": "abc", "expiration": SOON},
        {"token": "abc", "expires_at": SOON},
    ],
)
def test_known_answers_are_read(answer: dict[str, Any]) -> None:
    """OAuth 2.0, az, a kubectl credential plugin, gcloud, AWS CodeArtifact."""
    token = prints(json.dumps(answer)).fetch()
    assert "Bearer abc" == token.authorization
    assert token.expires_at is not None
    assert "expires_in" in answer or datetime.fromtimestamp(SOON, timezone.utc) == token.expires_at


def test_other_answers_are_read_where_they_say() -> None:
    """Both fields may lie deep."""
    text = json.dumps({"out": {"jwt": "abc", "until": SOON}, "access_token": "wrong", "expires_in": 5})
    token = prints(text, token_field="out.jwt", expiry_field="out.until").fetch()
    assert ("abc", datetime.fromtimestamp(SOON, timezone.utc)) == (token.access_token, token.expires_at)


@pytest.mark.parametrize("text", ["", " \n", "{broken canary", '{"a": "canary"}', "two canary", '{"token": 7}', "é"])
def test_output_that_is_no_token_is_malformed(text: str) -> None:
    """Nothing of it is quoted."""
    error = failure(prints(text))
    assert isinstance(error, MalformedResponseError)
    assert "canary" not in str(error)


def test_a_program_that_fails_is_named_with_its_status() -> None:
    """What it wrote is not quoted; it may do better later."""
    error = failure(runs("echo canary; exit 3"))
    assert "sh failed with status 3" == error.message
    assert error.transient


@pytest.mark.parametrize("program", ["/nowhere/to/be/found", "/etc/passwd", "nul\0byte"])
def test_a_program_that_cannot_be_run_is_named(program: str) -> None:
    """Another try would not help."""
    error = failure(CommandTokenFetcher([program]))
    assert "cannot be run" in error.message
    assert not error.transient


@pytest.mark.parametrize(
    "script", ["sleep 60", "sleep 60 & wait", "trap '' TERM; sleep 60; sleep 60", "sleep 60 & exit"]
)
def test_a_program_that_takes_too_long_is_killed(script: str) -> None:
    """With what it started, also where only that holds on to the output."""
    before = time.monotonic()
    error = failure(runs(script, timeout=0.3))
    assert time.monotonic() - before < 5
    assert "time-out" in error.message
    assert error.transient


@pytest.mark.parametrize("timeout", [1e10, sys.float_info.max])
def test_a_time_limit_may_be_longer_than_the_system_can_wait(timeout: float) -> None:
    """It is waited for in parts."""
    assert "abc" == prints("abc", timeout=timeout).fetch().access_token


@pytest.fixture
def unkillable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every program be one that runs as another user, as with the set-uid bit."""

    def refuse(group: int, number: int) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "killpg", refuse)


@pytest.mark.usefixtures("unkillable")
def test_a_program_that_may_not_be_killed_is_waited_for_a_moment(tmp_path: Path) -> None:
    """The error is that of the time-out, and what ends soon is no zombie."""
    pid_file = tmp_path / "pid"
    assert "time-out" in failure(runs(f"echo $$ > {pid_file}; exec sleep 0.6", timeout=0.3)).message
    assert not Path(f"/proc/{pid_file.read_text().strip()}").exists()


@pytest.mark.posix
@pytest.mark.usefixtures("unkillable")
def test_a_program_that_may_not_be_killed_is_not_waited_for_for_ever(tmp_path: Path) -> None:
    """Popen takes it in later, and warns of that."""
    pid_file = tmp_path / "pid"
    before = time.monotonic()
    with pytest.warns(ResourceWarning, match="still running"):
        error = failure(runs(f"echo $$ > {pid_file}; exec sleep 60", timeout=0.2))
    os.kill(int(pid_file.read_text()), signal.SIGKILL)
    assert "time-out" in error.message
    assert time.monotonic() - before < 5


@pytest.mark.posix
def test_what_a_killed_program_started_is_killed(tmp_path: Path) -> None:
    """The whole group goes, not only the program."""
    pid_file = tmp_path / "pid"
    failure(runs(f"sleep 60 & echo $! > {pid_file}; wait", timeout=1))
    child = int(pid_file.read_text())
    deadline = time.monotonic() + 5
    while Path(f"/proc/{child}/stat").exists() and b") Z" not in Path(f"/proc/{child}/stat").read_bytes():
        assert time.monotonic() < deadline
        os.sched_yield()


def test_the_contexts_timeout_counts_if_it_is_shorter() -> None:
    """A fetch ends with the attempt that needs it."""
    before = time.monotonic()
    failure(runs("sleep 60"), FetchContext(timeout=0.2))
    assert time.monotonic() - before < 5


def test_endless_output_is_cut() -> None:
    """At 1 MiB the program is killed."""
    error = failure(runs("while :; do echo canarycanarycanarycanarycanary; done"))
    assert isinstance(error, MalformedResponseError)
    assert "1 MiB" in error.message


def test_a_program_that_closes_its_output_and_stays_is_killed() -> None:
    """The output counts only once the program succeeded."""
    error = failure(runs("echo abc; exec >&-; sleep 60", timeout=0.3))
    assert "time-out" in error.message


def test_no_shell_is_involved() -> None:
    """An argument is what it is."""
    assert "$HOME;id" == CommandTokenFetcher(["printf", "%s", "$HOME;id"]).fetch().access_token


def test_secrets_go_by_the_environment() -> None:
    """Nobody else can see it there; it may come from an earlier step."""
    source = runs("printf %s $APP_TOKEN", env=lambda context: {"APP_TOKEN": context["app"].access_token})
    assert "inner" == source.fetch(FetchContext({"app": Token("inner")})).access_token


def test_it_runs_where_it_is_told(tmp_path: Path) -> None:
    """Which counts for relative paths of its own; it gets no input."""
    (tmp_path / "token").write_text("abc")
    assert "abc" == runs("cat token -", cwd=tmp_path).fetch().access_token


@pytest.mark.parametrize("argv", ["gcloud auth", [], ["a", 7], b"x", None])
def test_argv_must_be_a_list_of_strings(argv: Any) -> None:
    """A string would need a shell."""
    with pytest.raises(ConfigurationError, match="argv"):
        CommandTokenFetcher(argv)


@pytest.mark.parametrize(
    "timeout", [0, -1, True, "30", None, float("inf"), float("nan"), 10**400], ids=lambda one: str(one)[:9]
)
def test_the_time_limit_must_be_positive_and_finite(timeout: Any) -> None:
    """There is no run without one."""
    with pytest.raises(ConfigurationError, match="timeout"):
        CommandTokenFetcher(["true"], timeout=timeout)


def test_it_shows_its_program_only() -> None:
    """The arguments may be long, and more than a log should hold."""
    source = CommandTokenFetcher([sys.executable, "-c", "canary"], env={"KEY": "canary"})
    assert f"<CommandTokenFetcher 'command' runs {Path(sys.executable).name}>" == repr(source)


def test_its_key_is_that_of_what_it_runs() -> None:
    """Arguments and environment count, and none can be read off the key."""
    same = [CommandTokenFetcher(["a", "b"], env={"K": "canary"}).cache_key for _ in range(2)]
    assert same[0] == same[1]
    assert "canary" not in same[0]
    assert same[0] != CommandTokenFetcher(["a", "b"]).cache_key
    assert CommandTokenFetcher(["a", "bc"]).cache_key != CommandTokenFetcher(["a", "b", "c"]).cache_key


@pytest.mark.parametrize("text", ["null", "true", "7", "[]", '["t"]', "<html>login</html>", "error:", "not logged in"])
def test_what_is_no_token_is_none(text: str) -> None:
    """JSON counts as JSON, and a sentence is none: neither is sent to an API."""
    with pytest.raises(MalformedResponseError):
        prints(text).fetch()


def test_a_json_string_is_the_token() -> None:
    """As az prints it with --query; its quotes are none of it."""
    assert "eyJ.a.b" == prints('"eyJ.a.b"').fetch().access_token


def test_with_a_field_only_json_counts() -> None:
    """An array is looked into; a bare word is no token then."""
    assert "t" == prints('[{"svids": [{"svid": "t"}]}]', token_field="0.svids.0.svid").fetch().access_token
    with pytest.raises(MalformedResponseError, match="token_field"):
        prints("error:not-logged-in", token_field="token").fetch()


@pytest.mark.parametrize("name", ["expiresOn", "expiry", "expirationTimestamp"])
def test_an_expiry_by_another_name_counts_where_it_can_be_read(name: str) -> None:
    """As azd and databricks print it; az's own expiresOn has no offset, and is no instant."""
    token = prints(f'{{"token": "t", "{name}": "2096-10-02T07:06:40Z"}}').fetch()
    assert datetime(2096, 10, 2, 7, 6, 40, tzinfo=timezone.utc) == token.expires_at
    assert prints(f'{{"token": "t", "{name}": "2096-10-02 07:06:40.0"}}').fetch().expires_at is None


def test_a_lifetime_in_seconds_may_be_anywhere() -> None:
    """As a lease of Vault is."""
    text = '{"auth": {"client_token": "t", "lease_duration": 60}}'
    token = prints(text, token_field="auth.client_token", expires_in_field="auth.lease_duration").fetch()
    assert 50 < (token.expires_in() or 0) <= 60
