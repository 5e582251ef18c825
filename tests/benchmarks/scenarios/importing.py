"""What importing costs beside ``import requests``: processor's time and memory of fresh interpreters, in turns."""

import functools
from typing import Any

from benchmarks.imports import REQUESTS, ROUNDS, in_turns
from benchmarks.peers import OTHERS, Peer
from benchmarks.realm import Realm

__all__ = ["PLAN", "ROUNDS", "ROUNDS_OF", "measure"]

PLAN: dict[str, dict[str, Any]] = {"beside requests": {}}
ROUNDS_OF = {**dict.fromkeys(OTHERS, 5), "databricks": 2, "azure_identity": 3}  # the costly ones, beyond any doubt


def measure(peer: Peer, realm: Realm) -> dict[str, Any]:
    programs = {"package": f"import {peer.package}, requests", "program": f"{peer.program}\n{REQUESTS}"}
    _compile(*programs.values())
    (seconds, memory), *others = in_turns([REQUESTS, *programs.values()])
    figures = {"requests_ms": seconds * 1e3}
    for name, (took, kib) in zip(programs, others, strict=True):
        figures |= {f"{name}_ms": took * 1e3, f"{name}_more_mib": (kib - memory) / 1024}
    return figures


@functools.cache
def _compile(*programs: str) -> None:
    in_turns(list(programs))
