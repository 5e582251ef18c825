"""What importing tokenkit costs, beside ``import requests``: seconds of the processor, and memory at the end.

Each program runs in fresh interpreters, in turns, so that a busy machine slows all of them. Run by hand, it ends with
status 1 where the design's promises are not kept; the benchmarks' scenario measures the peers in the same way.
"""

import os
import statistics
import subprocess
import sys
import tempfile

ROUNDS = 15
REQUESTS = "import requests"
ROOT = "import tokenkit, requests"
USED = """
from tokenkit import BearerAuth, TokenManager
from tokenkit.fetchers.oauth2 import ClientCredentialsFetcher
"""
MOST = {REQUESTS: 1.0, ROOT: 1.05, USED: 1.25}  # times the seconds of `import requests`
MOST_MEMORY = 2048  # KiB more than `import requests`
MEASURED = """
import time
began = time.process_time()
{program}
seconds = time.process_time() - began
memory = [line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")]
print(seconds, memory[0])
"""  # getrusage() would tell of the process that started it, too


def once(program: str, cache: str | None = None) -> tuple[float, float]:
    """Return the seconds of the processor that *program* takes in a fresh interpreter, and its most KiB."""
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": ""}  # compiled, as where it is installed
    if cache is not None:
        environment["PYTHONPYCACHEPREFIX"] = cache
    command = [sys.executable, "-c", MEASURED.format(program=program)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    seconds, memory = done.stdout.split()
    return float(seconds), float(memory)


def in_turns(programs: list[str], cache: str | None = None) -> list[tuple[float, float]]:
    """Return what each of the *programs* takes."""
    return [once(program, cache) for program in programs]


def main() -> int:
    with tempfile.TemporaryDirectory() as cache:
        in_turns(list(MOST), cache)  # which compiles
        rounds = [in_turns(list(MOST), cache) for _ in range(ROUNDS)]
    medians = [
        [statistics.median(each) for each in zip(*results, strict=True)] for results in zip(*rounds, strict=True)
    ]
    seconds, memory = medians[0]
    kept = True
    print(f"Python {sys.version.split()[0]}, medians of {ROUNDS}")
    for (program, most), (took, kib) in zip(MOST.items(), medians, strict=True):
        kept &= took <= most * seconds and kib - memory <= MOST_MEMORY
        last = program.strip().splitlines()[-1]
        print(f"{last:66} {took * 1e3:6.1f} ms {took / seconds:6.2f} (at most {most})  {kib - memory:+7.0f} KiB")
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
