"""What importing costs beyond ``import requests``: the processor's time, and memory, of fresh interpreters."""

import subprocess
import sys
from typing import Any

from benchmarks.peers import Peer
from benchmarks.realm import Realm

REQUESTS = "import requests"
PLAN: dict[str, dict[str, Any]] = {what: {"what": what} for what in ("package", "program")}
ROUNDS = 5
# VmHWM is the most that this program had in memory; getrusage() tells of the process that started it, too.
MEASURED = """
import time
began = time.process_time()
{program}
seconds = time.process_time() - began
memory = [line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")]
print(seconds, memory[0])
"""


def measure(peer: Peer, realm: Realm, what: str) -> dict[str, Any]:
    code = f"import {peer.package}" if what == "package" else peer.program
    seconds, memory = _once(REQUESTS)
    took, kib = _once(f"{code}\n{REQUESTS}")
    return {
        "more_percent": (took / seconds - 1) * 100,
        "more_mib": (kib - memory) / 1024,
        "more_ms": (took - seconds) * 1e3,
    }


def _once(program: str) -> tuple[float, float]:
    """Return the seconds of the processor that *program* takes in a fresh interpreter, and its most KiB."""
    command = [sys.executable, "-c", MEASURED.format(program=program)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    seconds, memory = done.stdout.split()
    return float(seconds), float(memory)
