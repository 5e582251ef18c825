"""tokenkit under the hosts that fork their workers, beside managers that know nothing of forks.

gunicorn loads the application before it forks with ``--preload``. uWSGI always does, unless ``--lazy-apps``; it runs no
fork hook, and says that lost threads are alive. Without ``--enable-threads`` it lets threads run only while a request
waits for something. That is uWSGI itself, which Debian has for its own Python; pyuwsgi, from PyPI, always enables them.
"""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import requests
from support import needs
from support.daemons import free_port

import tokenkit
from tokenkit.testing import LocalIdP

pytestmark = [pytest.mark.slow, pytest.mark.server]

HERE = Path(__file__).parent
IMPORTED_FROM = os.pathsep.join({str(Path(module.__file__ or "").parent.parent) for module in (tokenkit, requests)})
LIFETIME = 2.0  # seconds that a token lives
SHORT_LIFETIME = 1.5  # where several of them are lived through
WORKERS = 4
PROMPT = 5.0  # seconds: a request that waited for a starved thread (1 s) and for its token, on a busy machine
GUNICORN = ["gunicorn", "--config", str(HERE / "gunicorn_settings.py")]
GUNICORN += ["--workers", str(WORKERS), "--chdir", str(HERE), "--bind", "ADDRESS"]
UWSGI_OPTIONS = ["--master", "--die-on-term", "--need-app", "--processes", str(WORKERS), "--chdir", str(HERE)]
UWSGI_OPTIONS += ["--wsgi", "app:application", "--http-socket", "ADDRESS"]
UWSGI = ["uwsgi_python3", "--plugin", "python3", *UWSGI_OPTIONS]
PYUWSGI = ["pyuwsgi", *UWSGI_OPTIONS, "--enable-threads"]
FORKING = {
    "gunicorn-sync": [*GUNICORN, "--preload", "app:application"],
    "gunicorn-gthread": [*GUNICORN, "--preload", "--threads", "4", "app:application"],
    "uwsgi": UWSGI,
    "pyuwsgi": PYUWSGI,
}
LAZY = {"uwsgi": [*UWSGI, "--lazy-apps"], "pyuwsgi": [*PYUWSGI, "--lazy-apps"]}
Answer = dict[str, Any]
Call = Callable[[str], Answer]


@pytest.fixture
def idp() -> Iterator[LocalIdP]:
    """It takes a moment, as a distant one would."""
    with LocalIdP(lifetime=LIFETIME, latency=0.02) as idp:
        yield idp


@pytest.fixture
def start(idp: LocalIdP, tmp_path: Path) -> Iterator[Callable[[list[str]], Call]]:
    """Start a host with *command*; return what calls the application in it. Ended after the test, with all workers."""
    hosts: list[subprocess.Popen[bytes]] = []

    def run(command: list[str]) -> Call:
        port = free_port()
        if command[0] == "uwsgi_python3":
            need_same_python(needs.program("uwsgi_python3"))
        program, *options = [f"127.0.0.1:{port}" if word == "ADDRESS" else word for word in command]
        with (tmp_path / "log").open("wb") as log:
            hosts.append(
                subprocess.Popen(
                    [needs.program(program), *options],
                    env=os.environ | {"TOKENKIT_TEST_IDP": idp.url, "PYTHONPATH": IMPORTED_FROM},
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )
            )
        await_port(hosts[-1], port, tmp_path / "log")
        return lambda path: requests.get(f"http://127.0.0.1:{port}{path}", timeout=20).json()

    yield run
    for host in hosts:
        end_group(host)


def need_same_python(program: str, running: tuple[int, int] = sys.version_info[:2]) -> None:
    """Skip where Debian's Python is of another version than the one whose packages the host would load."""
    loadable = {path.name for path in Path(program).parent.glob("uwsgi_python3?*")}
    if not loadable:
        needs.missing("uWSGI's plugin for a Python of Debian's")
    if "uwsgi_python{}{}".format(*running) not in loadable:
        pytest.skip(f"Debian's is {sorted(loadable)}, this is Python {running}: their packages differ")


def await_port(host: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and host.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.05)  # another program: nothing to wait on
        else:
            return
    pytest.fail(f"the host does not listen: {log.read_text('utf-8', 'replace')[-2000:]}")


def end_group(host: subprocess.Popen[bytes]) -> None:
    """Ask *host* to end, and kill its group if it does not: the workers too."""
    host.terminate()
    try:
        host.wait(0.3)
    except subprocess.TimeoutExpired:
        pass
    try:
        os.killpg(host.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    host.wait(10)


def drive(call: Call, seconds: float, path: str = "/tokenkit") -> list[Answer]:
    """Call the application from four threads for *seconds*; return all answers."""
    end = time.monotonic() + seconds

    def client(_: int) -> list[Answer]:
        answers = []
        while time.monotonic() < end:
            answers.append(call(path))
            time.sleep(0.02)  # a user who reads: also idle time for the worker
        return answers

    with ThreadPoolExecutor(WORKERS) as pool:
        return [answer for answers in pool.map(client, range(WORKERS)) for answer in answers]


def all_at_once(call: Call, path: str) -> list[Answer]:
    """Call the application once for each worker; most of them get a call."""
    with ThreadPoolExecutor(WORKERS) as pool:
        return [*pool.map(call, [path] * WORKERS)]


def tokens_by_worker(answers: list[Answer]) -> dict[int, set[str]]:
    return {pid: {a["token"] for a in answers if a["pid"] == pid} for pid in {a["pid"] for a in answers}}


def check(answers: list[Answer], *, forked: bool) -> None:
    """None failed, all were prompt, and hardly a token was rejected: it may expire on its way."""
    assert [] == [answer for answer in answers if answer["status"] != 200]
    assert {forked} == {answer["forked"] for answer in answers}
    assert max(answer["seconds"] for answer in answers) < PROMPT
    tokens = {answer["token"] for answer in answers}
    assert sum(answer["resent"] for answer in answers) <= max(len(tokens), len(answers) / 20)


@pytest.mark.parametrize("command", FORKING.values(), ids=FORKING)
def test_workers_forked_amid_a_renewal(idp: LocalIdP, start: Callable[[list[str]], Call], command: list[str]) -> None:
    """With tokenkit every request gets its token over four lifetimes; with naive managers none does after one."""
    idp.lifetime = SHORT_LIFETIME
    idp.fail("token", kind="chunked", times=3)  # no failure: the first token of each manager
    idp.fail("token", kind="hang", times=2)  # the renewals that are begun before the fork, until the end
    call = start(command)
    answers = drive(call, 4 * SHORT_LIFETIME)
    for _ in range(5):  # a worker may have had little to do
        if min(map(len, tokens_by_worker(answers).values())) < 3:
            answers += drive(call, SHORT_LIFETIME)
    check(answers, forked=True)
    tokens = tokens_by_worker(answers)
    assert all(len(seen) >= 3 for seen in tokens.values()), tokens  # at least two are its own
    stale = all_at_once(call, "/naive")
    assert {401} == {answer["status"] for answer in stale}, "its thread is lost, and its token is as old as the fork"
    stuck = all_at_once(call, "/naive-amid-renewal")
    assert {"TimeoutError: the lock is never free"} == {answer.get("error") for answer in stuck}


@pytest.mark.parametrize("command", LAZY.values(), ids=LAZY)
def test_workers_that_load_for_themselves(start: Callable[[list[str]], Call], command: list[str]) -> None:
    """Nothing is inherited; but a thread may be starved between requests, and only tokenkit does well without."""
    call = start(command)
    answers = drive(call, LIFETIME)
    time.sleep(1.2 * LIFETIME)  # idle: time of the host, not of a thread of ours
    answers += all_at_once(call, "/tokenkit")
    time.sleep(1.2 * LIFETIME)
    naive = all_at_once(call, "/naive")
    check(answers, forked=False)
    is_starved = "--enable-threads" not in command
    assert is_starved == (401 in {answer["status"] for answer in naive}), naive


def test_a_host_for_another_python_is_no_reason_to_fail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where everything is required, this one is left out for a difference between two Pythons, and for nothing else."""
    monkeypatch.setenv("TOKENKIT_REQUIRE_ALL", "1")
    program = str(tmp_path / "uwsgi_python3")
    with pytest.raises(pytest.fail.Exception, match="is missing"):
        need_same_python(program)
    (tmp_path / "uwsgi_python311").touch()
    need_same_python(program, (3, 11))
    with pytest.raises(pytest.skip.Exception, match="uwsgi_python311"):
        need_same_python(program, (3, 12))
