"""The process of one peer: it measures what it is told on its standard input, a line of JSON each, until that ends."""

import importlib
import json
import logging
import os
import sys
import warnings
from typing import Any

from benchmarks.peers import BY_NAME
from benchmarks.realm import Realm


def measured(url: str, name: str, order: dict[str, Any]) -> dict[str, Any]:
    """Return the figures of one round, or what went wrong in it."""
    scenario = importlib.import_module(f"benchmarks.scenarios.{order['scenario']}")
    realm = Realm(url, order["realm"])
    realm.set(reset=True)
    try:
        return dict(scenario.measure(BY_NAME[name], realm, **order["options"]))
    except Exception as error:
        return {"error": f"{type(error).__name__}: {error}"[:200]}


def main(url: str, name: str) -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a library prints is no figure
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")
    for line in iter(sys.stdin.readline, ""):
        print(json.dumps(measured(url, name, json.loads(line))), file=answers, flush=True)
    os._exit(0)  # some threads of some peers would have to be waited for


if __name__ == "__main__":
    main(*sys.argv[1:])
