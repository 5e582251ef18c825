"""The code before and after a migration does the same, against one server. Run by `tox -e migration`."""

import runpy
import types
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from benchmarks.peers import AUTHORITY, entra

from tokenkit.testing import LocalIdP

EXAMPLES = Path(__file__).resolve().parents[2] / "examples" / "migration"


@pytest.fixture
def example(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], ModuleType]:
    """Load an example by its path: some have the names of the libraries that they come from."""
    monkeypatch.setenv("OAUTHLIB_INSECURE_TRANSPORT", "1")
    return lambda name: types.SimpleNamespace(**runpy.run_path(str(EXAMPLES / f"{name}.py")))


def statuses(module: ModuleType, before: tuple[Any, ...], after: tuple[Any, ...]) -> tuple[int, int]:
    return module.before(*before).status_code, module.after(*after).status_code


@pytest.mark.parametrize("name", ["requests_oauthlib", "requests_oauth2client", "requests_auth", "authlib_session"])
def test_client_credentials(example: Callable[[str], ModuleType], idp: LocalIdP, name: str) -> None:
    """Both get the answer that wants a token."""
    urls = idp.token_url, idp.api("orders")
    assert (200, 200) == statuses(example(name), urls, urls)


def test_google(example: Callable[[str], ModuleType], idp: LocalIdP) -> None:
    """google-auth's assertion names Google as its audience, so that its token is handed out unseen."""
    rsa = pytest.importorskip("cryptography.hazmat.primitives.asymmetric.rsa")
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

    key = rsa.generate_private_key(65537, 2048)
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    idp.trust_issuer("robot@example.com", public)
    account = {
        "client_email": "robot@example.com",
        "private_key": key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode(),
        "private_key_id": "k1",
        "token_uri": idp.token_url,
    }
    idp.fail("token", status=200, body={"access_token": idp.issue().access_token, "expires_in": 3600})
    arguments = account, idp.api("orders")
    assert (200, 200) == statuses(example("google_auth"), arguments, arguments)


def test_msal(example: Callable[[str], ModuleType], idp: LocalIdP) -> None:
    """With Entra ID's paths in between."""
    before = f"{AUTHORITY}/tenant", idp.api("orders"), entra(idp)
    assert (200, 200) == statuses(example("msal_app"), before, (idp.token_url, idp.api("orders")))


def test_azure_identity(example: Callable[[str], ModuleType], idp: LocalIdP) -> None:
    """With Entra ID's paths in between."""
    transport = pytest.importorskip("azure.core.pipeline.transport")
    before = (
        AUTHORITY,
        idp.api("orders"),
        transport.RequestsTransport(session=entra(idp), session_owner=False),
    )
    assert (200, 200) == statuses(example("azure_credential"), before, (idp.token_url, idp.api("orders")))


def test_requestforge(example: Callable[[str], ModuleType], idp: LocalIdP) -> None:
    """A client built by its builder, and a session."""
    module = example("requestforge_client")
    assert 200 == module.before(idp.url, idp.token_url).get("/api/orders").status_code
    with module.after(idp.url, idp.token_url) as session:
        assert 200 == session.get("/api/orders").status_code
