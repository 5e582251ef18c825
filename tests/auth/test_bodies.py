"""A rejected request with a body: sent again whole, or not at all."""

import io
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import requests
from support.protected import Issuer, Resource, managed

from tokenkit.auth import BearerAuth


@pytest.fixture
def session(mint: Issuer) -> Iterator[requests.Session]:
    with managed(mint) as manager, requests.Session() as session:
        session.auth = BearerAuth(manager)
        manager.get_token()
        mint.revoke()
        yield session


REPLAYED: dict[str, tuple[Callable[[], dict[str, object]], bytes]] = {
    "none": (dict, b""),
    "empty": (lambda: {"data": b""}, b""),
    "bytes": (lambda: {"data": b"abc"}, b"abc"),
    "text": (lambda: {"data": "äbc"}, "äbc".encode()),
    "bytearray": (lambda: {"data": bytearray(b"abc")}, b"abc"),
    "form": (lambda: {"data": {"a": "1"}}, b"a=1"),
    "json": (lambda: {"json": {"a": 1}}, b'{"a": 1}'),
    "file": (lambda: {"data": io.BytesIO(b"abc")}, b"abc"),
    "empty file": (lambda: {"data": io.BytesIO()}, b""),
}


@pytest.mark.parametrize("case", REPLAYED)
def test_a_body_that_can_be_read_again_is_sent_again(session: requests.Session, api: Resource, case: str) -> None:
    """Both requests have the same body."""
    arguments, body = REPLAYED[case]
    assert 200 == session.post(api.url, **arguments()).status_code  # type: ignore[arg-type]
    assert [body, body] == [seen.body for seen in api.seen]


def test_multipart_is_sent_again(session: requests.Session, api: Resource) -> None:
    """Requests builds it in memory, so it can."""
    session.post(api.url, data={"a": "1"}, files={"f": ("name", io.BytesIO(b"content"))})
    assert api.seen[0].body == api.seen[1].body
    assert b"content" in api.seen[1].body


def test_a_file_is_sent_again_from_where_it_stood(session: requests.Session, api: Resource, tmp_path: Path) -> None:
    """Not from its beginning: the head may have been read on purpose."""
    path = tmp_path / "upload"
    path.write_bytes(b"headbody")
    with path.open("rb") as file:
        file.seek(4)
        assert 200 == session.put(api.url, data=file).status_code
    assert [b"body", b"body"] == [seen.body for seen in api.seen]


class Sized:
    """An iterator that knows its length."""

    def __init__(self) -> None:
        self._parts = iter([b"ab", b"c"])

    def __len__(self) -> int:
        return 3

    def __iter__(self) -> Iterator[bytes]:
        return self._parts


class Unseekable(io.BytesIO):
    """A pipe, as far as seeking goes."""

    def seek(self, *args: object) -> int:
        raise io.UnsupportedOperation("seek")


class Untold(io.BytesIO):
    """A file that does not know where it stands."""

    def tell(self) -> int:
        raise OSError("tell")


class ClosedWhenRead(io.BytesIO):
    """A file that closes itself at its end."""

    def read(self, *args: object) -> bytes:
        if self.closed:
            return b""
        data = super().read(*args)  # type: ignore[arg-type]
        if not data:
            self.close()
        return data


ONCE: dict[str, Callable[[], object]] = {
    "generator": lambda: (part for part in (b"ab", b"c")),
    "iterator with a length": Sized,
    "unseekable file": lambda: Unseekable(b"abc"),
    "file without a position": lambda: Untold(b"abc"),
    "closed file": lambda: ClosedWhenRead(b"abc"),
}


@pytest.mark.parametrize("case", ONCE)
def test_a_body_that_is_spent_is_not_sent_again(
    session: requests.Session, api: Resource, mint: Issuer, case: str
) -> None:
    """The caller gets the 401; the token is renewed all the same, so the next request succeeds at once."""
    response = session.post(api.url, data=ONCE[case](), timeout=10)  # type: ignore[arg-type]
    assert (401, [b"abc"], 2) == (response.status_code, [seen.body for seen in api.seen], mint.given)
    assert {"error": "no"} == response.json()
    assert 200 == session.post(api.url, data=ONCE[case](), timeout=10).status_code  # type: ignore[arg-type]
