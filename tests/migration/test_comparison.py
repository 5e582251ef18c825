"""The table of the README: each cell is what its library does, here and now."""

import re
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta, timezone
from pathlib import Path

import peers
import pytest
import requests
import time_machine
from peers import PEERS, Get

from tokenkit import BearerAuth, ClientCredentialsFetcher, TokenManager
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
each = pytest.mark.parametrize("peer", PEERS, ids=lambda peer: peer.__name__)
Behind = Callable[[LocalIdP], requests.Session]


def cell(row: str, peer: Callable[..., Get]) -> str:
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


def ended(get: Get) -> str:
    try:
        return str(get())
    except Exception:
        return "an error"


@pytest.fixture(autouse=True, scope="module")
def _key() -> None:
    from cryptography.hazmat.primitives.asymmetric import rsa
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    key = rsa.generate_private_key(65537, 2048)
    peers.PEM = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


@each
def test_a_revoked_token(idp: LocalIdP, entra: Behind, peer: Callable[..., Get]) -> None:
    """The API answers 401; who renews and sends again gets 200."""
    answer(idp)
    get = peer(idp, entra(idp))
    assert 200 == get()
    idp.revoke_all()
    answer(idp)
    assert cell("revoked", peer) == ended(get)


@each
def test_threads_that_have_no_token(idp: LocalIdP, entra: Behind, peer: Callable[..., Get]) -> None:
    """They come at the same moment, and a fetch takes a while."""
    answer(idp)
    said = cell("cold", peer)
    if said == "by hand":
        pytest.skip("its documentation fetches the first token before any request")
    idp.latencies["token"] = 0.3
    get = peer(idp, entra(idp))
    barrier = threading.Barrier(THREADS)

    def work(_: int) -> str:
        barrier.wait()
        return ended(get)

    with ThreadPoolExecutor(THREADS) as pool:
        assert {"200"} == set(pool.map(work, range(THREADS)))
    assert said == ("1" if idp.count("token") == 1 else "up to 16")


def later(
    peer: Callable[..., Get], idp: LocalIdP, transport: requests.Session, left: float, change: Callable[[], None]
) -> str:
    """How a request ends when a token of an hour has *left* seconds to live; *change* happens before it."""
    answer(idp)
    if peer is peers.tokenkit:  # its time is a clock that can be given; the others read the system's
        clock = FakeClock()
        fetcher = ClientCredentialsFetcher(token_url=idp.token_url, client_id="client", client_secret="secret")
        with TokenManager(fetcher, clock=clock) as manager:
            get = peers.by_auth(BearerAuth(manager), idp.api("x"))
            assert 200 == get()
            change()
            clock.advance(LIFETIME - left)
            return ended(get)
    get = peer(idp, transport)
    assert 200 == get()
    change()
    then = datetime.now(timezone.utc) + timedelta(seconds=LIFETIME - left)
    with time_machine.travel(then, tick=True):
        return ended(get)


@each
def test_an_outage_while_the_token_is_good(idp: LocalIdP, entra: Behind, peer: Callable[..., Get]) -> None:
    """It has a minute to live, and nothing new is to be had."""

    def down() -> None:
        idp.heal("token")
        idp.fail("token", status=503, times=None)

    assert cell("outage", peer) == later(peer, idp, entra(idp), 60, down)


@each
def test_an_expired_token(idp: LocalIdP, entra: Behind, peer: Callable[..., Get]) -> None:
    """Another one is to be had."""
    assert cell("expired", peer) == later(peer, idp, entra(idp), -1, lambda: answer(idp))
