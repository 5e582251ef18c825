"""``python -m benchmarks [SCENARIO ...] [--rounds N] [--peers NAME,...] [--out FILE]``: measure, and tell."""

import argparse
import json
from pathlib import Path

from benchmarks.peers import PEERS
from benchmarks.run import all_scenarios, run
from benchmarks.tables import targets_table, texts

OUT = Path(__file__).resolve().parents[2] / "benchmarks.json"
NAMES = [peer.name for peer in PEERS]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="tokenkit beside its peers")
    parser.add_argument("scenario", nargs="*", help=f"of {', '.join(all_scenarios())}; none: all")
    parser.add_argument("--rounds", type=int, help="at most so many of each")
    parser.add_argument("--peers", default=",".join(NAMES), help=f"of {','.join(NAMES)}")
    parser.add_argument("--out", type=Path, default=OUT, help="where the figures go")
    chosen = parser.parse_args()
    found = run(chosen.scenario or all_scenarios(), chosen.rounds, chosen.peers.split(","))
    chosen.out.write_text(f"{json.dumps(found, indent=1)}\n", encoding="utf-8")
    print(texts(found))
    print(targets_table(found))
    print(f"{found['seconds']} s; figures in {chosen.out}")


if __name__ == "__main__":
    main()
