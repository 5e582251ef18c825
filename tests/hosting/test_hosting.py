"""Each host of the manual's page runs the example of that page: no request fails, one token serves a lifetime.

Run by `tox -e hosting`: these take minutes and programs that nothing else here needs.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests
from support import needs
from support.daemons import free_port, redis_server
from support.programs import await_answer, process_group

import tokenkit
from tokenkit.testing import LocalIdP

pytestmark = [pytest.mark.slow, pytest.mark.server, pytest.mark.timeout(120)]

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
HOSTING, SHOP = EXAMPLES / "hosting", EXAMPLES / "django_project"
IMPORTED_FROM = os.pathsep.join({str(Path(one.__file__ or "").parent.parent) for one in (tokenkit, requests)})
LIFETIME = 3  # seconds that a token lives; it is renewed ahead of its expiry, after 2.1 at the earliest
LIVED = 3  # lifetimes
CLIENTS = 4
Program = Callable[..., Any]

GUNICORN = ["gunicorn", "--no-control-socket", "--workers", "3", "--bind", "ADDRESS"]
WEB = {
    "gunicorn sync": [*GUNICORN, "flask_app:app"],
    "gunicorn preload": [*GUNICORN, "--preload", "flask_app:app"],
    "gunicorn gthread": [*GUNICORN, "--preload", "--threads", "4", "flask_app:app"],
    "gunicorn gevent": [*GUNICORN, "--worker-class", "gevent", "flask_app:app"],
    "uwsgi": [
        *["pyuwsgi", "--master", "--die-on-term", "--enable-threads", "--processes", "3"],
        *["--wsgi", "flask_app:app", "--http-socket", "ADDRESS"],
    ],
    "uwsgi without threads": [
        *["pyuwsgi", "--master", "--die-on-term", "--processes", "3"],
        *["--wsgi", "flask_app:app", "--http-socket", "ADDRESS"],
    ],
    "waitress": ["waitress-serve", "--listen=ADDRESS", "flask_app:app"],
    "uvicorn": ["uvicorn", "fastapi_app:app", "--workers", "2", "--port", "PORT", "--no-access-log"],
}


APACHE = """
ServerName 127.0.0.1
ServerRoot {home}
PidFile {home}/pid
ErrorLog {home}/errors
LoadModule mpm_event_module /usr/lib/apache2/modules/mod_mpm_event.so
LoadModule authz_core_module /usr/lib/apache2/modules/mod_authz_core.so
LoadModule wsgi_module /usr/lib/apache2/modules/mod_wsgi.so
User {user}
Group {user}
WSGISocketPrefix {home}/socket
WSGIDaemonProcess shop processes=2 threads=3
WSGIProcessGroup shop
WSGIApplicationGroup %{{GLOBAL}}
WSGIScriptAlias / {home}/app.wsgi
<Directory {home}>
Require all granted
</Directory>
"""


@pytest.fixture
def idp() -> Iterator[LocalIdP]:
    with LocalIdP(lifetime=LIFETIME, latency=0.02) as idp:
        yield idp


@pytest.fixture
def environment(idp: LocalIdP, tmp_path: Path) -> dict[str, str]:
    """What the examples read, with one storage for all processes."""
    cache = tmp_path / "cache"
    cache.mkdir(0o700)
    return os.environ | {
        "API_URL": idp.api("orders"),
        "ORDERS_TOKEN_URL": idp.token_url,
        "ORDERS_CLIENT_ID": "client",
        "ORDERS_CLIENT_SECRET": "secret",
        "ORDERS_STORAGE": "file",
        "ORDERS_STORAGE_DIRECTORY": str(cache),
        "SHOP_UPSTREAM": idp.url,
        "SHOP_CACHE": str(tmp_path / "shop"),
        "DJANGO_SETTINGS_MODULE": "shop.settings",
        "PYTHONPATH": os.pathsep.join([str(HOSTING), str(SHOP), IMPORTED_FROM]),
    }


@pytest.fixture
def start(environment: dict[str, str], tmp_path: Path) -> Iterator[Program]:
    """Start a web host; return the URL at which it answers."""
    with ExitStack() as hosts:

        def run(command: list[str], path: str = "") -> str:
            port = str(free_port())
            words = [word.replace("ADDRESS", f"127.0.0.1:{port}").replace("PORT", port) for word in command]
            words[0] = needs.program(words[0])
            process = hosts.enter_context(process_group(words, tmp_path, environment))
            url = f"http://127.0.0.1:{port}/{path}"
            await_answer(process, url)
            return url

        yield run


def drive(url: str) -> list[dict[str, Any]]:
    """Ask the host from several threads for a few lifetimes; return all answers."""
    until = time.monotonic() + LIVED * LIFETIME

    def client(_: int) -> list[dict[str, Any]]:
        answers = []
        while time.monotonic() < until:
            answers.append(requests.get(url, timeout=20).json())
        return answers

    with ThreadPoolExecutor(CLIENTS) as pool:
        return [answer for answers in pool.map(client, range(CLIENTS)) for answer in answers]


@contextmanager
def one_fetch_a_lifetime(idp: LocalIdP) -> Iterator[None]:
    """Allow one at the start, and one each time that 0.7 of a lifetime is over, for all processes together."""
    began = time.monotonic()
    yield
    assert 1 <= idp.count("token") <= 1 + int((time.monotonic() - began) / (0.7 * LIFETIME))


@pytest.mark.parametrize("command", WEB.values(), ids=WEB)
def test_a_web_host_serves_over_lifetimes(idp: LocalIdP, start: Program, command: list[str]) -> None:
    """No request fails, none is sent twice, and all workers together fetch once a lifetime."""
    with one_fetch_a_lifetime(idp):
        answers = drive(start(command))
    assert {200} == {answer["status"] for answer in answers}
    assert 0 == sum(answer["resent"] for answer in answers)


@pytest.mark.parametrize("command", [[*GUNICORN, "--preload", "django.core.wsgi:get_wsgi_application()"]])
def test_django_shares_by_its_cache(idp: LocalIdP, start: Program, command: list[str]) -> None:
    """The project of the examples under gunicorn."""
    with one_fetch_a_lifetime(idp):
        answers = drive(start(command, "orders/1"))
    assert {200} == {answer["upstream"] for answer in answers}


def test_djangos_autoreload_starts_again_with_the_stored_token(
    idp: LocalIdP, start: Program, environment: dict[str, str], tmp_path: Path
) -> None:
    """A changed file restarts the server; the new process adopts what the old one stored."""
    project = tmp_path / "project"
    shutil.copytree(SHOP, project)
    environment["PYTHONPATH"] = os.pathsep.join([str(project), IMPORTED_FROM])
    idp.lifetime = 3600
    url = start([sys.executable, str(project / "manage.py"), "runserver", "PORT"], "orders/1")
    assert 200 == requests.get(url, timeout=20).json()["upstream"]
    changed = project / "shop" / "urls.py"
    changed.write_text(changed.read_text().replace('"upstream"', '"reloaded"'))
    deadline = time.monotonic() + 30
    while "reloaded" not in (answer := answer_of(url)):
        assert time.monotonic() < deadline, answer
        time.sleep(0.2)  # another program: it looks at its files once a second
    assert 200 == answer["reloaded"]
    assert 1 == idp.count("token")


def answer_of(url: str) -> dict[str, Any]:
    try:
        return dict(requests.get(url, timeout=20).json())
    except requests.ConnectionError:  # between two processes
        return {}


def test_mod_wsgi_in_daemon_mode(idp: LocalIdP, start: Program, environment: dict[str, str], tmp_path: Path) -> None:
    """Debian's Apache, two processes of three threads; skipped where Debian's Python is of another version."""
    apache = needs.program("apache2")
    module = Path("/usr/lib/apache2/modules/mod_wsgi.so")
    needs.directory(module.parent, "apt-get install libapache2-mod-wsgi-py3")
    if f"python{sys.version_info.major}.{sys.version_info.minor}".encode() not in module.read_bytes():
        pytest.skip("Debian's mod_wsgi is for another Python")
    set_up = "".join(
        f"os.environ[{name!r}] = {environment[name]!r}\n"
        for name in environment
        if "ORDERS" in name or name == "API_URL"
    )
    paths = f"sys.path[:0] = {environment['PYTHONPATH'].split(os.pathsep)!r}\n"
    home = Path(tempfile.mkdtemp())  # readable by the user that the workers run as, as the test's own is not
    try:
        home.chmod(0o755)
        (home / "cache").mkdir(mode=0o700)
        set_up = set_up.replace(environment["ORDERS_STORAGE_DIRECTORY"], str(home / "cache"))
        (home / "app.wsgi").write_text(f"import os, sys\n{set_up}{paths}from flask_app import application\n")
        (home / "httpd.conf").write_text(APACHE.format(home=home, user="www-data" if os.getuid() == 0 else ""))
        if os.getuid() == 0:
            shutil.chown(home / "cache", "www-data")
        with one_fetch_a_lifetime(idp):
            answers = drive(start([apache, "-f", str(home / "httpd.conf"), "-DFOREGROUND", "-C", "Listen ADDRESS"]))
        assert {200} == {answer["status"] for answer in answers}
        assert len({answer["pid"] for answer in answers}) > 1
    finally:
        shutil.rmtree(home)


def run(environment: dict[str, str], *command: str) -> str:
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=100, check=False)
    assert 0 == done.returncode, done.stderr[-2000:]
    return done.stdout


@pytest.mark.parametrize("kind", ["fork", "spawn", "forkserver", "joblib"])
def test_a_pool_of_processes_costs_one_fetch(idp: LocalIdP, environment: dict[str, str], kind: str) -> None:
    """24 jobs on three workers, none of which fails."""
    idp.lifetime = 3600
    assert "{200: 24}" == run(environment, sys.executable, str(HOSTING / "pools.py"), kind).strip()
    assert 1 == idp.count("token")


@pytest.fixture
def broker(tmp_path: Path, environment: dict[str, str]) -> Iterator[str]:
    with redis_server(tmp_path) as server:
        environment["BROKER_URL"] = f"redis://127.0.0.1:{server.port}/0"
        yield environment["BROKER_URL"]


CELERY_JOBS = """
import time
from celery_app import fetch_orders
until = time.monotonic() + {seconds}
found = []
while time.monotonic() < until:
    found += [job.get(timeout=30)["status"] for job in [fetch_orders.delay() for _ in range(6)]]
print(sorted(set(found)))
"""


def test_celery_prefork(idp: LocalIdP, environment: dict[str, str], broker: str, tmp_path: Path) -> None:
    """Three forked workers with soft time limits, over a few lifetimes."""
    command = [sys.executable, "-m", "celery", "-A", "celery_app", "worker", "--concurrency=3", "--loglevel=WARNING"]
    with process_group(command, tmp_path, environment), one_fetch_a_lifetime(idp):
        assert "[200]" == run(environment, sys.executable, "-c", CELERY_JOBS.format(seconds=LIVED * LIFETIME)).strip()


RQ_JOBS = """
import os, time
from redis import Redis
from rq import Queue
queue = Queue(connection=Redis.from_url(os.environ["BROKER_URL"]))
jobs = [queue.enqueue("rq_jobs.fetch_orders") for _ in range(12)]
until = time.monotonic() + 60
while time.monotonic() < until and not all(job.is_finished or job.is_failed for job in jobs):
    time.sleep(0.1)
    [job.refresh() for job in jobs]
print(sorted({job.return_value()["status"] for job in jobs}))
"""


def test_rq_forks_for_each_job(idp: LocalIdP, environment: dict[str, str], broker: str, tmp_path: Path) -> None:
    """The stored token serves all jobs: each runs in a child that ends with it."""
    idp.lifetime = 3600
    command = [needs.program("rq"), "worker", "--url", broker]
    with process_group(command, tmp_path, environment):
        assert "[200]" == run(environment, sys.executable, "-c", RQ_JOBS).strip()
    assert 1 == idp.count("token")
