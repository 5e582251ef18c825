"""The table of the README: each cell is what its library does, here and now."""

import re
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
import time_machine
from benchmarks import peers

from tokenkit.testing import FakeClock, LocalIdP

README = Path(__file__).resolve().parents[2] / "README.md"
THREADS = 16
LIFETIME = 3600
ROWS = {
    "A revoked token: the request ends with": "revoked",
    "16 threads that have no token: token calls": "cold",
    "Identity provider down, token good for a minute: the request ends with": "outage",
    "Expired: the request ends with": "expired",
}
Make = Callable[..., peers.Client]
PEERS: list[Make] = [
    peers.tokenkit,
    peers.google_auth,
    peers.requests_oauthlib,
    peers.requests_oauth2client,
    peers.requests_auth,
    peers.authlib,
    peers.msal,
    peers.azure_identity,
]
each = pytest.mark.parametrize("peer", PEERS, ids=lambda peer: peer.__name__)


def cell(row: str, peer: Make) -> str:
    """What the README says of *peer*."""
    lines = [line for line in README.read_text(encoding="utf-8").splitlines() if line.startswith("|")]
    table = [[one.strip() for one in line.strip("|").split("|")] for line in lines]
    header = next(cells for cells in table if "tokenkit" in cells[1:])
    column = [re.sub(r"\W", "_", name.lower()) for name in header].index(peer.__name__)
    (label,) = [label for label, name in ROWS.items() if name == row]
    return next(cells for cells in table if cells[0] == label)[column]


def answer(idp: LocalIdP) -> None:
    """Give whoever asks a token that is good for an hour, as the assertions of some name another audience."""
    token = idp.issue().access_token
    body = {"access_token": token, "expires_in": LIFETIME, "token_type": "Bearer"}
    idp.heal("token")
    idp.fail("token", status=200, times=None, body=body)


def ended(client: peers.Client, idp: LocalIdP) -> str:
    try:
        return str(client.get(idp.api("x")))
    except Exception:
        return "an error"


@each
def test_a_revoked_token(idp: LocalIdP, peer: Make) -> None:
    """The API answers 401; who renews and sends again gets 200."""
    answer(idp)
    client = peer(idp)
    assert 200 == client.get(idp.api("x"))
    idp.revoke_all()
    answer(idp)
    assert cell("revoked", peer) == ended(client, idp)


@each
def test_threads_that_have_no_token(idp: LocalIdP, peer: Make) -> None:
    """They come at the same moment, and a fetch takes a while."""
    answer(idp)
    said = cell("cold", peer)
    client = peer(idp)
    if said == "by hand":  # the program fetches the first token, before any thread
        assert 1 == idp.count("token")
        return
    assert 0 == idp.count("token")
    idp.latencies["token"] = 0.3
    barrier = threading.Barrier(THREADS)

    def work(_: int) -> str:
        barrier.wait()
        return ended(client, idp)

    with ThreadPoolExecutor(THREADS) as pool:
        assert {"200"} == set(pool.map(work, range(THREADS)))
    assert said == ("1" if idp.count("token") == 1 else "up to 16")


def later(peer: Make, idp: LocalIdP, left: float, change: Callable[[], None]) -> str:
    """How a request ends when a token of an hour has *left* seconds to live; *change* happens before it."""
    answer(idp)
    clock = FakeClock()  # tokenkit takes a clock; the others read the system's
    client = peer(idp, clock=clock) if peer is peers.tokenkit else peer(idp)
    try:
        assert 200 == client.get(idp.api("x"))
        change()
        clock.advance(LIFETIME - left)
        then = datetime.now(timezone.utc) + timedelta(seconds=LIFETIME - left)
        with nullcontext() if peer is peers.tokenkit else time_machine.travel(then, tick=True):
            return ended(client, idp)
    finally:
        client.close()


@each
def test_an_outage_while_the_token_is_good(idp: LocalIdP, peer: Make) -> None:
    """It has a minute to live, and nothing new is to be had."""

    def down() -> None:
        idp.heal("token")
        idp.fail("token", status=503, times=None)

    assert cell("outage", peer) == later(peer, idp, 60, down)


@each
def test_an_expired_token(idp: LocalIdP, peer: Make) -> None:
    """Another one is to be had."""
    assert cell("expired", peer) == later(peer, idp, -1, lambda: answer(idp))
