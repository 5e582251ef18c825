"""`tokenkit keep` and `tokenkit exec`: a token for programs that are not Python, good for as long as they run."""

import json
import os
import pwd
import resource
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests
from support.daemons import free_port

from tokenkit.cli import main
from tokenkit.testing import LocalIdP

TOKENKIT = [sys.executable, "-W", "error", "-m", "tokenkit"]
PATIENCE = 20.0
LIFETIME = 2.0


@pytest.fixture
def config(tmp_path: Path, local_idp: LocalIdP) -> Path:
    path = tmp_path / "tokens.toml"
    path.write_text(
        f'[orders]\ntoken_url = "{local_idp.token_url}"\nclient_id = "client"\nclient_secret = "secret"\nretries = 0\n'
        f'[orders.storage]\ntype = "file"\ndirectory = "{tmp_path}/tokens"\n'
    )
    return path


@contextmanager
def keeping(config: Path, *options: str) -> Iterator["subprocess.Popen[str]"]:
    command = [*TOKENKIT, "keep", "orders", "--config", str(config), *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def await_file(path: Path) -> None:
    deadline = time.monotonic() + PATIENCE
    while not path.exists():
        assert time.monotonic() < deadline, f"{path.name} never came"
        time.sleep(0.05)  # another program


def test_keep_once_writes_a_file_for_others(config: Path, tmp_path: Path) -> None:
    """It is the owner's alone unless another mode is given, and holds what the format says."""
    path = tmp_path / "token"
    assert 0 == main(["keep", "orders", "--config", str(config), "--write", str(path), "--once"])
    assert 0o600 == stat.S_IMODE(path.stat().st_mode)
    form = ["--format", "header", "--mode", "640"]
    assert 0 == main(["keep", "orders", "--config", str(config), "--write", str(path), "--once", *form])
    assert path.read_text().startswith("Authorization: Bearer ")
    assert 0o640 == stat.S_IMODE(path.stat().st_mode)


@pytest.mark.posix
def test_a_kept_file_may_be_given_to_another(config: Path, tmp_path: Path) -> None:
    """--owner is looked up by its name; one's own is the one that everybody may name."""
    path = tmp_path / "token"
    name = next((one.pw_name for one in pwd.getpwall() if one.pw_uid == os.geteuid()), None)
    if name is None:
        pytest.skip("this user has no name, as in some containers")
    owner = ["--owner", name]
    assert 0 == main(["keep", "orders", "--config", str(config), "--write", str(path), "--once", *owner])
    assert os.geteuid() == path.stat().st_uid


def test_keep_once_may_see_to_the_storage_alone(config: Path, local_idp: LocalIdP) -> None:
    """What it stores serves the next command, which asks nobody."""
    assert 0 == main(["keep", "orders", "--config", str(config), "--once"])
    assert 0 == main(["token", "orders", "--config", str(config)])
    assert 1 == local_idp.count("token")


@pytest.mark.slow
def test_readers_of_a_kept_file_never_fail(config: Path, tmp_path: Path, local_idp: LocalIdP) -> None:
    """Over several lifetimes whoever reads the file has a good token, and each lifetime costs one fetch."""
    local_idp.lifetime = LIFETIME
    path = tmp_path / "token"
    statuses: list[int] = []
    with keeping(config, "--write", str(path)) as process:
        await_file(path)
        began = time.monotonic()
        while time.monotonic() - began < 4 * LIFETIME:
            header = {"Authorization": f"Bearer {path.read_text().strip()}"}
            statuses.append(requests.get(local_idp.api("orders"), headers=header, timeout=5).status_code)
        process.terminate()
        assert ("", "") == process.communicate(timeout=PATIENCE)
        assert 0 == process.returncode
    assert {200} == set(statuses)
    assert local_idp.count("token") <= 1 + 4 * LIFETIME / (0.65 * LIFETIME)


@pytest.mark.slow
def test_keep_survives_an_outage_and_says_so_once(config: Path, tmp_path: Path, local_idp: LocalIdP) -> None:
    """The health port answers 503 while there is no token, and 200 again afterwards."""
    port = free_port()
    local_idp.fail("token", status=503, times=None)

    def health() -> int:
        try:
            return requests.get(f"http://127.0.0.1:{port}/", timeout=5).status_code
        except requests.ConnectionError:
            return 0

    def await_health(status: int) -> None:
        deadline = time.monotonic() + PATIENCE
        while health() != status:
            assert time.monotonic() < deadline
            time.sleep(0.1)  # another program

    with keeping(config, "--health", str(port)) as process:
        await_health(503)
        local_idp.wait_for_requests("token", 2, timeout=PATIENCE)  # the second comes after a failure
        local_idp.heal("token")
        await_health(200)
        process.terminate()
        _out, said = process.communicate(timeout=PATIENCE)
    assert 1 == said.count("not fresh:"), said
    assert 1 == said.count("fresh again"), said


def test_a_file_that_cannot_be_written_is_named(config: Path, tmp_path: Path, capsys: Any) -> None:
    """In one line."""
    path = tmp_path / "missing" / "token"
    assert 1 == main(["keep", "orders", "--config", str(config), "--write", str(path), "--once"])
    assert f"tokenkit: No such file or directory: {path}\n" == capsys.readouterr().err


@pytest.mark.parametrize("options", [["--owner", "root:nobody-has-this"], ["--health", "no/such/file"]])
def test_an_owner_or_a_place_that_is_not_there(config: Path, tmp_path: Path, options: list[str], capsys: Any) -> None:
    """It is the command line that is wrong, and the line says where, before anybody is asked for a token."""
    path = tmp_path / "token"
    assert 2 == main(["keep", "orders", "--config", str(config), "--write", str(path), *options])
    assert capsys.readouterr().err.startswith(f"tokenkit: {' '.join(options)}: ")
    assert not path.exists()


def test_a_mode_that_is_none(config: Path, capsys: Any) -> None:
    """It says what one looks like."""
    with pytest.raises(SystemExit):
        main(["keep", "--config", str(config), "--mode", "9"])
    assert "--mode: must be octal, such as 640" in capsys.readouterr().err


@pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="no limit of another process can be changed here")
def test_keep_survives_a_full_disk(config: Path, tmp_path: Path, local_idp: LocalIdP) -> None:
    """Neither the storage nor the file can be written: the file stays as it was, and follows when there is room."""
    path = tmp_path / "token"
    path.write_text("as it was")
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    command = [*TOKENKIT, "keep", "orders", "--config", str(config), "--write", str(path)]
    script = f"import os, resource; resource.setrlimit(1, (0, {limit[1]})); os.execv({command[0]!r}, {command!r})"
    with subprocess.Popen([sys.executable, "-c", script], stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        said = next(line for line in process.stderr if "not fresh" in line)
        assert f"not fresh: File too large: {path} [not-fresh]" in said
        assert "as it was" == path.read_text()
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, limit)
        next(line for line in process.stderr if "fresh again" in line)
        assert local_idp.is_active(path.read_text().strip())
        process.terminate()
        assert 0 == process.wait(PATIENCE)


CHILD = """
import json, os, stat, sys
path = os.environ["TOKENKIT_TOKEN_FILE"]
print(json.dumps({
    "token": os.environ["TOKENKIT_TOKEN"],
    "file": open(path).read().strip(),
    "mode": stat.S_IMODE(os.stat(path).st_mode),
    "arguments": sys.argv,
}))
sys.exit(7)
"""


def test_exec_gives_a_command_its_token(config: Path, local_idp: LocalIdP) -> None:
    """In two variables and in no argument; its status is the command's, and the file goes with it."""
    command = [*TOKENKIT, "exec", "orders", "--config", str(config), "--", sys.executable, "-c", CHILD, "--format", "x"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert 7 == done.returncode, done.stderr
    told = json.loads(done.stdout)
    assert local_idp.is_active(told["token"])
    assert told["token"] == told["file"]
    assert 0o600 == told["mode"]
    assert ["-c", "--format", "x"] == told["arguments"]


@pytest.mark.slow
def test_a_long_command_still_has_a_good_token(config: Path, local_idp: LocalIdP) -> None:
    """After two lifetimes the file has another token, and it is good."""
    local_idp.lifetime = LIFETIME
    child = (
        "import os, time; path = os.environ['TOKENKIT_TOKEN_FILE']; "
        f"time.sleep({2 * LIFETIME}); print(open(path).read())"
    )
    command = [*TOKENKIT, "exec", "orders", "--config", str(config), "--", sys.executable, "-c", child]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert local_idp.is_active(process.stdout.readline().strip())


def test_exec_says_once_that_its_token_is_not_fresh(config: Path, local_idp: LocalIdP) -> None:
    """With ``--verbose``, however long that lasts; and once that it is fresh again."""
    local_idp.lifetime = 0.5
    child = "import sys; print('ready', flush=True); sys.stdin.read()"
    command = [*TOKENKIT, "exec", "orders", "--verbose", "--config", str(config), "--", sys.executable, "-c", child]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert "ready\n" == process.stdout.readline()
        local_idp.fail("token", status=503, times=None)
        assert any("not fresh: " in line for line in process.stderr)
        local_idp.wait_for_requests("token", local_idp.count("token") + 1, timeout=PATIENCE)
        local_idp.lifetime = 60.0
        local_idp.heal("token")
        said = []
        for line in process.stderr:
            said.append(line)
            if "fresh again [not-fresh]" in line:
                break
        assert [] == [line for line in said if "not fresh: " in line]
        process.communicate(timeout=PATIENCE)


@pytest.mark.parametrize(
    ("ignored", "sent", "ended"),
    [("SIGUSR1", "SIGTERM", "SIGTERM"), ("SIGTERM", "SIGHUP", "SIGHUP"), ("SIGHUP", "SIGHUP", "SIGTERM")],
)
def test_exec_passes_a_signal_on(config: Path, tmp_path: Path, ignored: str, sent: str, ended: str) -> None:
    """It reaches the command, whose end is told as a shell tells it, but for one that nohup ignores. No file stays."""
    child = "import signal, sys; print('ready', flush=True); signal.pause()"
    start = (
        "import signal; [signal.signal(one, signal.SIG_DFL) for one in (signal.SIGHUP, signal.SIGTERM)];"
        f"signal.signal(signal.{ignored}, signal.SIG_IGN); import sys; from tokenkit.cli import main; sys.exit(main())"
    )
    command = [*TOKENKIT[:3], "-c", start, "exec", "orders", "--config", str(config), "--", sys.executable, "-c", child]
    (tmp_path / "temporary").mkdir()
    there = {**os.environ, "TMPDIR": str(tmp_path / "temporary")}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=there) as process:
        assert process.stdout is not None
        assert "ready\n" == process.stdout.readline()
        process.send_signal(getattr(signal, sent))
        if sent != ended:
            process.send_signal(getattr(signal, ended))
        assert 128 + getattr(signal, ended) == process.wait(PATIENCE)
    assert [] == list((tmp_path / "temporary").iterdir())


def test_exec_passes_on_each_of_several_signals(config: Path) -> None:
    """The last one does not take the place of those before it."""
    child = "import signal; wanted = {signal.SIGUSR1, signal.SIGUSR2, signal.SIGTERM};"
    child += "signal.pthread_sigmask(signal.SIG_BLOCK, wanted); print('ready', flush=True);"
    child += "[wanted.discard(signal.sigtimedwait(wanted, 5).si_signo) for _ in range(3)]"
    command = [*TOKENKIT, "exec", "orders", "--config", str(config), "--", sys.executable, "-c", child]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert "ready\n" == process.stdout.readline()
        for number in (signal.SIGUSR1, signal.SIGUSR2, signal.SIGTERM):
            process.send_signal(number)
        assert 0 == process.wait(PATIENCE)


def test_a_hang_up_ends_keep_as_sigterm_does(config: Path, tmp_path: Path) -> None:
    """The terminal has gone: no file is left that says all is well."""
    health = tmp_path / "health"
    start = "import signal, sys; signal.signal(signal.SIGHUP, signal.SIG_DFL);"
    start += "from tokenkit.cli import main; sys.exit(main())"
    command = [*TOKENKIT[:3], "-c", start, "keep", "orders", "--config", str(config), "--health", str(health)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        await_file(health)
        process.send_signal(signal.SIGHUP)
        assert "" == process.communicate(timeout=PATIENCE)[1]
    assert (0, False) == (process.returncode, health.exists())


@pytest.mark.posix
def test_exec_leaves_an_interrupt_to_the_command(config: Path) -> None:
    """Ctrl-C reaches the command by itself: it is not sent again, and the command says how it ends."""
    child = "trap 'exit 4' INT; kill -INT $PPID; sleep 0.3; exit 3"
    assert 3 == main(["exec", "orders", "--config", str(config), "--", "sh", "-c", child])


def test_a_command_goes_on_without_a_renewal(config: Path, local_idp: LocalIdP) -> None:
    """Its token has ended, and there is no other: that is the command's affair, and it ends as it would."""
    local_idp.lifetime = 0.6  # long enough to be handed out on a loaded machine
    local_idp.fail("token", kind="chunked")  # the first is answered well
    local_idp.fail("token", status=503, times=None)
    child = "import sys, time; time.sleep(0.9); sys.exit(5)"
    assert 5 == main(["exec", "orders", "--config", str(config), "--", sys.executable, "-c", child])


@pytest.mark.parametrize("words", [["exec", "orders"], ["token", "orders", "--", "ls"]])
def test_a_command_comes_after_two_dashes(words: list[str], capsys: Any) -> None:
    """Of exec, and of nothing else."""
    with pytest.raises(SystemExit) as caught:
        main(words)
    assert 2 == caught.value.code
    said = capsys.readouterr().err
    assert "exec takes a command after --" in said
    assert said.startswith(f"usage: tokenkit {words[0]} ")
    assert ("[NAME] -- COMMAND" in said) == (words[0] == "exec")


def test_no_secret_is_in_the_list_of_processes(config: Path, local_idp: LocalIdP) -> None:
    """Whoever looks at other people's processes sees no token."""
    child = "import os; print(open(f'/proc/{os.getppid()}/cmdline').read() + open('/proc/self/cmdline').read())"
    if not os.path.isdir("/proc/self"):  # noqa: PTH112  # short
        pytest.skip("there is no /proc")
    command = [*TOKENKIT, "exec", "orders", "--config", str(config), "--", sys.executable, "-c", child]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    (token,) = [word for word in done.stdout.split() if local_idp.is_active(word)] or [""]
    assert "" == token
