"""The command: what it prints where, how it ends, and what it never shows."""

import errno
import io
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest
from support import needs

from tokenkit.cli import main
from tokenkit.testing import LocalIdP

CANARY = "canary-77ac"


@pytest.fixture(scope="module")
def idp() -> Iterator[LocalIdP]:
    with LocalIdP() as server:
        yield server


@pytest.fixture
def config(tmp_path: Path, idp: LocalIdP) -> Path:
    """A file with one table that works and some that do not."""
    path = tmp_path / "tokens.toml"
    path.write_text(f"""
[orders]
token_url = "{idp.url}/token"
client_id = "client"
client_secret = "env:CLI_SECRET"
scope = "read"
[orders.storage]
type = "file"
directory = "{tmp_path}/tokens"

[refused]
token_url = "{idp.url}/token"
client_id = "client"
client_secret = "{CANARY}"

[down]
token_url = "http://127.0.0.1:9/token"
client_id = "client"
client_secret = "{CANARY}"
retries = 0

[slip]
token_urn = "{CANARY}"
""")
    return path


@pytest.fixture(autouse=True)
def _secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLI_SECRET", "secret")


def run(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> tuple[int, str, str]:
    """Return the status and what was written to standard output and standard error."""
    status = main([str(one) for one in arguments])
    out, err = capsys.readouterr()
    assert CANARY not in out + err
    return status, out, err


def test_token_prints_the_token_alone(capsys: pytest.CaptureFixture[str], config: Path, idp: LocalIdP) -> None:
    """A second call finds it in the storage."""
    before = idp.count("token")
    status, out, err = run(capsys, "token", "--config", config, "orders")
    assert (0, "", 1) == (status, err, len(out.splitlines()))
    assert (0, out, "") == run(capsys, "token", "--config", config, "orders")
    assert 1 == idp.count("token") - before


def test_header_prints_what_curl_reads(capsys: pytest.CaptureFixture[str], config: Path) -> None:
    """One line, a header's name and its value."""
    _status, token, _err = run(capsys, "token", "--config", config, "orders")
    assert (0, f"Authorization: Bearer {token}", "") == run(
        capsys, "token", "--config", config, "--format", "header", "orders"
    )


def test_show_tells_about_the_token_without_it(capsys: pytest.CaptureFixture[str], config: Path) -> None:
    """Type, fingerprint, expiry and scope, and whether there is a refresh token."""
    _status, token, _err = run(capsys, "token", "--config", config, "orders")
    status, out, err = run(capsys, "show", "--config", config, "orders")
    assert (0, "") == (status, err)
    assert token.strip() not in out
    facts = dict(line.split(":", 1) for line in out.splitlines())
    assert ["type", "fingerprint", "expires", "seconds left", "scope", "refresh token"] == list(facts)
    assert ("Bearer", "read") == (facts["type"].strip(), facts["scope"].strip())


def test_check_asks_no_network(capsys: pytest.CaptureFixture[str], config: Path) -> None:
    """A table whose server is down is good."""
    assert (0, "[down] is good\n", "") == run(capsys, "check", "--config", config, "down")


def test_check_reads_every_table(capsys: pytest.CaptureFixture[str], config: Path) -> None:
    """Without a name it goes on to the first that is wrong."""
    status, out, err = run(capsys, "check", "--config", config)
    assert (2, "[orders] is good\n[refused] is good\n[down] is good\n") == (status, out)
    assert "tokenkit: 'token_urn' in [slip] is not known for grant = 'client_credentials'" in err
    assert 1 == len(err.splitlines())


def test_check_looks_whether_secrets_are_there(
    capsys: pytest.CaptureFixture[str], config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A missing variable is named; with --no-secrets it may be missing."""
    monkeypatch.delenv("CLI_SECRET")
    said = "tokenkit: [orders]: the environment variable CLI_SECRET is not set, or empty\n"
    assert (2, "", said) == run(capsys, "check", "--config", config, "orders")
    assert (0, "[orders] is good\n", "") == run(capsys, "check", "--no-secrets", "--config", config, "orders")


def test_check_without_secrets_passes_over_those_of_the_storage(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """The storage's secrets are read when it is made, so it is not made."""
    path = tmp_path / "one.toml"
    path.write_text('[one]\nsource = "environment"\nvariable = "X"\n')
    with path.open("a") as file:
        file.write('[one.storage]\ntype = "memory"\nencryption_keys = "env:CLI_NOWHERE"\n')
    assert 2 == run(capsys, "check", "--config", path)[0]
    assert (0, "[one] is good\n", "") == run(capsys, "check", "--no-secrets", "--config", path)


ENDS = [("refused", 1, "invalid_client"), ("down", 75, "127.0.0.1"), ("slip", 2, "'token_urn' in [slip]")]


@pytest.mark.parametrize(("name", "status", "said"), ENDS)
def test_the_status_says_whether_to_try_again(
    capsys: pytest.CaptureFixture[str], config: Path, name: str, status: int, said: str
) -> None:
    """1: never; 75: later; 2: mend the configuration. The error is one line."""
    ended, out, err = run(capsys, "token", "--config", config, name)
    assert (status, "", 1) == (ended, out, len(err.splitlines()))
    assert err.startswith("tokenkit: ")
    assert said in err


def test_a_name_is_needed_where_there_are_several(capsys: pytest.CaptureFixture[str], config: Path) -> None:
    """The message lists them."""
    status, _out, err = run(capsys, "token", "--config", config)
    assert 2 == status
    assert f"say which table of {config}: orders, refused, down, slip\n" in err


def test_the_only_table_needs_no_name(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """A file for one manager is the common case."""
    path = tmp_path / "one.toml"
    path.write_text('[one]\nsource = "static"\ntoken = "abc"\n')
    assert (0, "abc\n", "") == run(capsys, "token", "--config", path)
    path.write_text("")
    said = f"tokenkit: {path} describes no manager: a table such as [orders] does\n"
    assert (2, "", said) == run(capsys, "token", "--config", path)
    assert (2, "", said) == run(capsys, "check", "--config", path)


def test_without_a_file_the_environment_is_read(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """--prefix says which variables."""
    monkeypatch.setenv("CLI_A_SOURCE", "static")
    monkeypatch.setenv("CLI_A_TOKEN", "abc")
    assert (0, "abc\n", "") == run(capsys, "token", "--prefix", "CLI_A")
    assert (0, "CLI_A_* is good\n", "") == run(capsys, "check", "--prefix", "CLI_A")
    assert 2 == run(capsys, "token", "--prefix", "CLI_A", "orders")[0]


def test_a_wrong_command_line_ends_with_2(capsys: pytest.CaptureFixture[str]) -> None:
    """As argparse has it."""
    with pytest.raises(SystemExit) as caught:
        main(["tokn"])
    assert 2 == caught.value.code
    assert "invalid choice" in capsys.readouterr().err


def test_to_import_the_command_runs_nothing() -> None:
    """As tools do that look at every module of a package."""
    assert main is import_module("tokenkit.__main__").main


SCRIPT = [sys.executable, "-W", "error", "-c", "import sys; from tokenkit.cli import main; sys.exit(main())"]


@pytest.mark.parametrize(("name", "status"), [("orders", 0), ("refused", 1), ("down", 75)])
def test_the_process_writes_nothing_else(config: Path, name: str, status: int) -> None:
    """No log record, warning or traceback comes with the token or the one line of an error."""
    command = [*SCRIPT, "token", "--config", str(config), name]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    lines = (len(done.stdout.splitlines()), len(done.stderr.splitlines()))
    assert (status, (1, 0) if status == 0 else (0, 1)) == (done.returncode, lines)
    assert CANARY not in done.stderr


@pytest.mark.parametrize(("name", "told"), [("orders", "success"), ("refused", "error"), ("down", "error")])
def test_verbose_tells_what_happens_and_no_secret(config: Path, name: str, told: str) -> None:
    """Log records come on standard error; neither the client's secret nor the token is in them."""
    command = [*SCRIPT, "token", "--verbose", "--config", str(config), name]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert f"{name}: asked for a token: {told}\n" in done.stderr
    assert CANARY not in done.stdout + done.stderr
    assert not done.stdout or done.stdout.strip() not in done.stderr


def test_a_token_that_takes_too_long_may_come_later(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, local_idp: LocalIdP
) -> None:
    """The policy's limit on an attempt ends the wait, with 75."""
    local_idp.fail("token", kind="hang", times=None)
    path = tmp_path / "slow.toml"
    path.write_text(f"""
[slow]
token_url = "{local_idp.token_url}"
client_id = "client"
client_secret = "{CANARY}"
policy = {{ refresh_request_timeout = 0.2 }}
""")
    status, out, err = run(capsys, "token", "--config", path)
    assert (75, "", 1) == (status, out, len(err.splitlines()))


def test_an_interrupt_ends_it_at_once(tmp_path: Path, local_idp: LocalIdP) -> None:
    """Ctrl-C ends the wait for an endpoint that hangs: 130, and no traceback."""
    local_idp.fail("token", kind="hang", times=None)
    path = tmp_path / "hung.toml"
    path.write_text(f'[hung]\ntoken_url = "{local_idp.token_url}"\nclient_id = "c"\nclient_secret = "{CANARY}"\n')
    # What starts the tests may ignore the signal, which children inherit.
    script = SCRIPT[-1].replace("sys.exit(", "signal.signal(signal.SIGINT, signal.default_int_handler); sys.exit(")
    command = [*SCRIPT[:-1], f"import signal; {script}", "token", "--config", str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        local_idp.wait_for_requests("token", timeout=25)
        process.send_signal(signal.SIGINT)
        try:
            assert ("", "") == process.communicate(timeout=20)  # the attempt itself may take 30
        finally:
            process.kill()
    assert 130 == process.returncode


def test_the_installed_command_runs() -> None:
    """The distribution brings it along."""
    command = [needs.program("tokenkit"), "--help"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert (0, "") == (done.returncode, done.stderr)
    assert "tokenkit token --config tokens.toml" in done.stdout


def test_a_reader_that_has_gone_is_no_traceback(config: Path) -> None:
    """As in ``tokenkit token | true``."""
    script = f"{sys.executable} {' '.join(map(repr, SCRIPT[3:]))} token --config {config} orders | true"
    done = subprocess.run(["sh", "-c", script], capture_output=True, text=True, timeout=30, check=False)
    assert "" == done.stderr


@pytest.mark.parametrize("command", ["token", "show", "check"])
def test_an_output_that_cannot_be_written_is_told(config: Path, command: str) -> None:
    """A full disk is one line on standard error, and 1."""
    if not Path("/dev/full").exists():
        needs.missing("/dev/full")
    with Path("/dev/full").open("w") as full:
        asked = [*SCRIPT, command, "--config", str(config), "orders"]
        done = subprocess.run(asked, stdout=full, stderr=subprocess.PIPE, text=True, timeout=30, check=False)
    assert (1, f"tokenkit: {os.strerror(errno.ENOSPC)}\n") == (done.returncode, done.stderr)


@pytest.mark.parametrize(("command", "status", "said"), [("token", 1, "standard output"), ("keep", 0, "")])
def test_a_closed_standard_output(config: Path, command: str, status: int, said: str) -> None:
    """A command that has something to write says in one line that it cannot; one that has nothing works."""
    options = ["--once"] if command == "keep" else []
    asked = [*SCRIPT, command, "--config", str(config), *options, "orders"]
    shell = ["sh", "-c", 'exec "$@" >&-', "sh", *asked]
    done = subprocess.run(shell, stderr=subprocess.PIPE, text=True, timeout=30, check=False)
    assert (status, len(said and "1")) == (done.returncode, done.stderr.count("\n"))
    assert said in done.stderr


def test_a_closed_standard_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The exit status says it all."""
    monkeypatch.setattr(sys, "stderr", None)
    assert 2 == main(["token", "--config", str(tmp_path / "missing.toml")])


def test_a_name_that_the_terminal_cannot_show(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """It is written by its code points."""
    path = tmp_path / "one.toml"
    path.write_text('["\u00e9t\u00e9"]\nsource = "static"\ntoken = "abc"\n', encoding="utf-8")
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding="ascii"))
    assert [0, 0] == [main([command, "--config", str(path)]) for command in ("list", "check")]
    assert b"\\xe9t\\xe9\n[\\xe9t\\xe9] is good\n" == written.getvalue()


def test_without_any_configuration(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A newcomer reads where one was looked for."""
    for name in [name for name in os.environ if name.startswith("TOKENKIT_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    status, _out, err = run(capsys, "token")
    assert 2 == status
    assert f"no configuration: give --config FILE; there is no {tmp_path / 'tokenkit.toml'}, and " in err
    assert "no environment variable begins with TOKENKIT_\n" in err
    status, _out, err = run(capsys, "token", "orders")
    assert (2, 1) == (status, err.count("give --config FILE"))


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("no_such_module:manager", "no_such_module:manager cannot be had: there is no module 'no_such_module'"),
        ("os:manager", "os:manager cannot be had: os has no 'manager'"),
        ("os:sep", "os:sep is no TokenManager, nor a function that returns one"),
        ("os:getcwd", "os:getcwd is no TokenManager, nor a function that returns one"),
        ("os:kill", "os:kill cannot be had: TypeError"),
    ],
)
def test_an_object_that_cannot_be_had(capsys: pytest.CaptureFixture[str], name: str, said: str) -> None:
    """The line says which part of the name is wrong."""
    assert (2, "", f"tokenkit: {said}\n") == run(capsys, "token", name)


@pytest.mark.parametrize("text", ["x", "-1", "nan", "inf"])
def test_seconds_that_are_none(capsys: pytest.CaptureFixture[str], text: str) -> None:
    """It says what they look like."""
    with pytest.raises(SystemExit):
        main(["token", "--min-valid", text])
    assert "argument --min-valid: must be seconds, at least 0\n" in capsys.readouterr().err
