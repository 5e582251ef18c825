"""Eight processes with one refresh token that rotates, some of which are killed at random.

tokenkit's share a directory, as :mod:`support.rotation_kills` has it. Each process of a peer has the refresh token, as
no peer shares a grant between processes; it is not even killed.
"""

import multiprocessing
import os
import tempfile
from pathlib import Path
from typing import Any

from support import rotation_kills
from support.oauth_servers import OAuthServer

from benchmarks.at_work import at_work
from benchmarks.peers import OTHERS, Peer
from benchmarks.realm import Realm

PROCESSES = 8
SECONDS = 2.0
KILLS = 40
PLAN: dict[str, dict[str, Any]] = {"8 processes": {}}
ROUNDS, ROUNDS_OF = 2, dict.fromkeys(OTHERS, 1)
FRESH = True
PATIENCE = 40.0


def measure(peer: Peer, realm: Realm) -> dict[str, Any]:
    if peer.refreshing is None:
        return {"unsupported": 1}
    return _with_kills(realm) if peer.name == "tokenkit" else _of_peer(peer, realm)


def _with_kills(realm: Realm) -> dict[str, Any]:
    realm.set(lifetime=60)
    base, _, name = realm.url.rpartition("/")
    paths = [f"/{name}/{what}" for what in ("token", "revoke", "introspect", "api")]
    server = _Realm("benchmarks", int(base.rpartition(":")[2]), None, *paths, prefix=f"{name}/")
    with tempfile.TemporaryDirectory() as place:
        seen = rotation_kills.run_round(server, Path(place), kills=KILLS, seed=os.getpid())
    figures = {"rotations": seen.rotations, "kills": seen.kills, "lost": seen.lost, "families_ended": seen.revoked}
    return {**figures, "reuses": max(0, seen.revoked - seen.lost)}


class _Realm(OAuthServer):
    """A realm of the benchmarks' server as the tests know servers."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}{self.token.rpartition('/')[0]}"

    def endpoints(self, base: str | None = None) -> dict[str, str]:
        return {"token_url": f"{base or self.url.rpartition('/')[0]}{self.token}"}


def _of_peer(peer: Peer, realm: Realm) -> dict[str, Any]:
    realm.set(lifetime=peer.lifetime(1.0))
    fork, refresh_token, make = multiprocessing.get_context("fork"), realm.grant(), peer.refreshing
    assert make is not None

    def one() -> None:
        at_work(make(realm, refresh_token), realm.api(), SECONDS, pause=0.02)
        os._exit(0)

    children = [fork.Process(target=one) for _ in range(PROCESSES)]
    for child in children:
        child.start()
    for child in children:
        child.join()
    counts = realm.set()
    figures = {"rotations": counts["rotations"], "reuses": counts["reuses"], "families_ended": counts["ended"]}
    return {**figures, "kills": 0, "lost": 0}
