"""Servers as programs: each a process group of its own, of which nothing is left behind."""

import json
import os
import selectors
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import requests

PATIENCE = 20  # seconds that a server may take to start


@contextmanager
def own_program(command: list[str], directory: Path, config: Mapping[str, Any]) -> Iterator[int]:
    """Run a server that tells its URL when it is ready, and ends with its standard input; yield its port."""
    settings = directory / "config.json"
    settings.write_text(json.dumps(config))
    with process_group([*command, str(settings)], directory) as process:
        yield int(_first_line(process, directory).rpartition(":")[2])


@contextmanager
def process_group(
    command: list[str], directory: Path, environment: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """Run *command* as a process group, and leave nothing of it behind."""
    with (directory / "log.txt").open("wb") as log:
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            cwd=directory,
            env=environment,
            start_new_session=True,
        )
    with process:
        try:
            yield process
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(10)


def _first_line(process: subprocess.Popen[bytes], directory: Path) -> str:
    assert process.stdout is not None
    line = b""
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        while selector.select(PATIENCE) and (data := os.read(process.stdout.fileno(), 4096)):
            line += data
            if line.endswith(b"\n"):
                return line.decode().strip()
    raise RuntimeError(f"{process.args!r} did not start:\n{(directory / 'log.txt').read_text()[-2000:]}")


def await_answer(process: subprocess.Popen[bytes], url: str) -> None:
    """Return once *url* answers, whatever it says."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline and process.poll() is None:
        try:
            requests.get(url, timeout=1)
        except (requests.ConnectionError, requests.Timeout):
            time.sleep(0.02)  # it does not tell when it is ready
        else:
            return
    raise RuntimeError(f"{process.args!r} does not answer at {url}")
