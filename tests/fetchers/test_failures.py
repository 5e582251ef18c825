"""What is made of failures that need a certificate, a missing extra, or an odd exception to happen."""

import gc
import select
import socket
import ssl
import sys
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests
import urllib3
from support import needs
from support.raw_server import Script, answer, raw_server, says
from urllib3.exceptions import ConnectTimeoutError, NameResolutionError, NewConnectionError, ProxyError

from tokenkit.contracts import FetchContext
from tokenkit.errors import AuthenticationError, ConfigurationError, SourceUnavailableError, TransportError
from tokenkit.fetchers import ClientCredentialsFetcher, HttpTokenFetcher, PasswordFetcher
from tokenkit.fetchers._failures import describe
from tokenkit.testing import LocalIdP

needs.module("cryptography")
from tokenkit.testing.certificates import self_signed  # noqa: E402  # needs cryptography


def source(idp: LocalIdP, **options: Any) -> ClientCredentialsFetcher:
    return ClientCredentialsFetcher(token_url=idp.token_url, client_id="client", client_secret="secret", **options)


def test_a_certificate_that_is_not_trusted_is_named(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the TLS library found is passed on, and the secret is not sent; whoever is trusted is asked."""
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
    context, trusted = self_signed(tmp_path)
    with LocalIdP(tls=context) as idp:
        with pytest.raises(TransportError, match="certificate verify failed: self") as caught:
            source(idp).fetch()
        assert 0 == idp.count("token")
        assert (True, None) == (caught.value.transient, caught.value.__context__)
        assert idp.is_active(source(idp, verify=str(trusted)).fetch())


@pytest.mark.parametrize(
    ("argument", "value"),
    [("verify", "/nowhere/ca.pem"), ("cert", "/nowhere/client.pem"), ("cert", ("/nowhere/c.pem", "/nowhere/k.pem"))],
)
def test_a_certificate_file_that_is_missing_is_named(argument: str, value: Any) -> None:
    """Requests raises a bare OSError; the argument and the path say where to look."""
    client = ClientCredentialsFetcher(
        token_url="https://127.0.0.1:1/", client_id="c", client_secret="s", **{argument: value}
    )
    with pytest.raises(ConfigurationError, match=f"{argument} is '/nowhere/.*no such file"):
        client.fetch()


@pytest.mark.parametrize("argument", ["verify", "cert"])
def test_a_certificate_file_that_is_no_pem_is_named(tmp_path: Any, argument: str) -> None:
    """The TLS library says no more than that it failed; the server is not what to look at."""
    context, trusted = self_signed(tmp_path)
    wrong = tmp_path / "client.der"
    wrong.write_bytes(b"0\x82")
    with LocalIdP(tls=context) as idp:
        client = source(idp, **{"verify": str(trusted), argument: str(wrong)})
        with pytest.raises(ConfigurationError, match=rf"{argument} is '.*client\.der', which is no PEM file"):
            client.fetch()


def test_a_directory_of_certificates_is_not_taken_for_a_wrong_file(tmp_path: Any) -> None:
    """It may well be right, so the failure is the server's."""
    context, _trusted = self_signed(tmp_path)
    with LocalIdP(tls=context) as idp, pytest.raises(TransportError, match="certificate verify failed"):
        source(idp, verify=str(tmp_path)).fetch()


def test_a_socks_proxy_names_what_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    """The package that speaks SOCKS is an extra of requests; what requests says of it names no remedy."""
    monkeypatch.setattr(requests.adapters, "SOCKSProxyManager", _no_socks)
    client = ClientCredentialsFetcher(
        token_url="https://idp.example.com/",
        client_id="c",
        client_secret="s",
        proxies={"https": "socks5://127.0.0.1:9"},
    )
    with pytest.raises(ConfigurationError, match=r"a SOCKS proxy needs the package PySocks: pip install requests\[s"):
        client.fetch()


def _no_socks(*_arguments: Any, **_options: Any) -> None:
    raise requests.exceptions.InvalidSchema("Missing dependencies for SOCKS support.")


def test_a_bundle_of_the_environment_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """The variable may have been set long ago, by somebody else."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/nowhere/ca.pem")
    client = ClientCredentialsFetcher(token_url="https://127.0.0.1:1/", client_id="c", client_secret="s")
    with pytest.raises(ConfigurationError, match=r"REQUESTS_CA_BUNDLE is '/nowhere/ca\.pem'"):
        client.fetch()


def test_a_metadata_server_that_is_not_there_is_a_source_that_is_not_there() -> None:
    """A program that runs outside the cloud goes on to its next source."""
    for host in ("169.254.169.254", "metadata.google.internal", "[fd00:ec2::254]:80"):
        error = describe(requests.ConnectTimeout(), host).error("step")
        assert isinstance(error, SourceUnavailableError)
        assert error.transient
    assert isinstance(describe(requests.ConnectTimeout(), "idp.example").error("step"), TransportError)


def test_a_client_with_a_certificate_names_itself_at_its_own_endpoint(tmp_path: Any) -> None:
    """RFC 8705: the certificate proves what client_id says, and the metadata may have another address for it."""
    context, trusted = self_signed(tmp_path)
    with LocalIdP() as idp, LocalIdP(tls=context) as other:
        other.add_client("public")
        aliases = {"token_endpoint": other.token_url}
        body = {"issuer": idp.issuer, "token_endpoint": idp.token_url, "mtls_endpoint_aliases": aliases}
        idp.fail("metadata", status=200, body=body)
        client = PasswordFetcher(
            username="alice",
            password="wonderland",
            issuer=idp.issuer,
            client_id="public",
            client_auth="self_signed_tls_client_auth",
            cert=(str(trusted), str(tmp_path / "key.pem")),
            verify=str(trusted),
        )
        assert other.is_active(client.fetch())
        assert ["public"] == other.last_request("token").form["client_id"]


@pytest.mark.parametrize("shows", [True, False])
def test_a_server_that_demands_a_certificate_gets_it(tmp_path: Any, shows: bool) -> None:
    """The client's certificate is shown in the handshake; without one the failure is named as TLS's."""
    context, trusted = self_signed(tmp_path)
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(trusted)
    with LocalIdP(tls=context) as idp:
        idp.add_client("public")
        proof = {"client_auth": "tls_client_auth", "cert": (str(trusted), str(tmp_path / "key.pem"))}
        options = proof if shows else {"client_auth": "none"}
        alice = {"username": "alice", "password": "wonderland"}
        client = PasswordFetcher(
            token_url=idp.token_url, client_id="public", verify=str(trusted), retries=0, **alice, **options
        )
        if shows:
            assert idp.is_active(client.fetch())
            return
        with pytest.raises(TransportError):
            client.fetch()
        assert 0 == idp.count("token")


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only what signs assertions needs it."""
    monkeypatch.setitem(sys.modules, "jwt", None)
    client = ClientCredentialsFetcher(
        token_url="https://127.0.0.1:1/", client_id="c", client_secret="s", client_auth="client_secret_jwt"
    )
    with pytest.raises(ConfigurationError, match=r"requests-tokenkit\[crypto\]"):
        client.fetch()


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (requests.exceptions.ConnectTimeout(), "connect"),
        (requests.exceptions.ReadTimeout(), "read"),
        (requests.exceptions.ProxyError(), "read"),
        (ProxyError("canary", ConnectionResetError("canary")), "read"),
        (ProxyError("canary", requests.exceptions.ConnectionError("Tunnel connection failed: 502")), "read"),
        (ProxyError("canary", ssl.SSLEOFError("canary")), "read"),
        (ProxyError("canary", OSError("Tunnel connection failed: 502 canary")), "connect"),
        (ProxyError("canary", NewConnectionError(None, "canary")), "connect"),
        (ProxyError("canary", NameResolutionError("canary", None, socket.gaierror())), "connect"),
        (ProxyError("canary", ConnectTimeoutError()), "connect"),
        (requests.exceptions.SSLError(), "tls"),
        (requests.exceptions.ChunkedEncodingError(), "read"),
        (requests.exceptions.ConnectionError("canary"), "read"),
        (requests.exceptions.InvalidURL("canary"), "request"),
        (requests.exceptions.InvalidHeader("canary"), "request"),
        (UnicodeEncodeError("latin-1", "canary", 0, 1, "no"), "request"),
        (urllib3.exceptions.DecodeError("canary"), "read"),
        (urllib3.exceptions.LocationParseError("canary"), "request"),
        (TimeoutError("canary"), "read"),
        (ConnectionResetError("canary"), "read"),
        (OSError("canary"), "request"),
    ],
)
def test_a_failure_is_told_by_its_type(error: Exception, kind: str) -> None:
    """Only 'connect' says that nothing reached the server; nothing of the text is used."""
    found = describe(error, "idp.example")
    assert kind == found.kind
    assert "canary" not in found.message


def refresher(idp: LocalIdP, **options: Any) -> PasswordFetcher:
    alice = {"username": "alice", "password": "wonderland"}
    return PasswordFetcher(
        token_url=idp.token_url, client_id="client", client_secret="secret", ttl=timedelta(hours=1), **alice, **options
    )


def tunnels_to(port: int) -> Script:
    """Be a proxy that was asked for a tunnel, and hang up when either side does."""

    def script(client: socket.socket) -> None:
        with socket.create_connection(("127.0.0.1", port)) as server:
            client.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
            ways = {client: server, server: client}
            while True:
                for one in select.select(list(ways), [], [])[0]:
                    data = one.recv(65536)
                    if not data:
                        return
                    ways[one].sendall(data)

    return script


def test_a_refresh_token_that_went_through_a_proxy_is_not_sent_again(tmp_path: Any) -> None:
    """A server that spent it and hung up looks to urllib3 like a proxy that was never reached."""
    context, trusted = self_signed(tmp_path)
    with LocalIdP(tls=context) as idp, raw_server(tunnels_to(urlsplit(idp.url).port or 0)) as proxy:
        source = refresher(idp, verify=str(trusted), proxies={"https": proxy.url})
        token = source.fetch()
        idp.fail("token", kind="close", processed=True)
        with pytest.raises(TransportError, match="through the proxy broke"):
            source.refresh(token)
        assert (1, 0) == (idp.count("token:refresh_token"), idp.reuse_detected)


def test_a_proxy_that_hangs_up_may_have_passed_a_refresh_token_on() -> None:
    """Without a tunnel it has the whole request."""
    with raw_server(says(b"")) as proxy:
        data = {"refresh_token": "rt-1"}
        source = HttpTokenFetcher(
            "step", "http://127.0.0.1:9", "", request_data=data, proxies={"http": proxy.url}, retries=1
        )
        with pytest.raises(TransportError):
            source.fetch()
        assert 1 == len(proxy.requests)


@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
def test_a_proxy_that_refuses_the_tunnel_is_asked_again() -> None:
    """No refresh token came through."""
    with raw_server(says(answer(b"", status="502 Bad Gateway"))) as proxy:
        data = {"refresh_token": "rt-1"}
        source = HttpTokenFetcher(
            "step", "https://idp.invalid", "", request_data=data, proxies={"https": proxy.url}, retries=1
        )
        with pytest.raises(TransportError, match="failed with status 502"):
            source.fetch()
        assert 2 == len(proxy.requests)
    gc.collect()  # Python 3.10 with urllib3 before 2.2 leaves the proxy's answer open: told here, not in a later test


def test_an_error_that_the_caller_handles_says_nothing_of_the_request() -> None:
    """Python chains the two, and the caller's own may tell of a server that was never reached."""
    with LocalIdP() as idp:
        source = refresher(idp)
        token = source.fetch()
        idp.fail("token", kind="close", processed=True)
        try:
            raise requests.ConnectionError(NewConnectionError(None, "canary"))
        except requests.ConnectionError:
            with pytest.raises(TransportError, match="broke before the answer"):
                source.refresh(token)
        assert (1, 0) == (idp.count("token:refresh_token"), idp.reuse_detected)


def test_a_failed_verification_without_a_reason_is_told_too() -> None:
    """Only the handshake itself gives one."""
    found = describe(ssl.SSLCertVerificationError(1, "canary"), "idp.example")
    assert ("tls", "TLS failure with idp.example: certificate verify failed") == (found.kind, found.message)


def test_a_failure_that_wraps_itself_is_told_too() -> None:
    """Chains of exceptions may have loops."""
    error = requests.exceptions.ConnectionError()
    error.args = (error,)
    assert "read" == describe(error, "idp.example").kind


def test_a_pause_that_would_outlive_the_context_is_not_made() -> None:
    """The error comes at once, with the time to wait."""
    with LocalIdP() as idp:
        idp.fail("token", status=503, retry_after=2)
        user = PasswordFetcher(
            token_url=idp.token_url,
            client_id="client",
            client_secret="secret",
            username="alice",
            password="wonderland",
            ttl=timedelta(hours=1),
        )
        with pytest.raises(AuthenticationError) as caught:
            user.fetch(FetchContext(timeout=1))
        assert (2, 1) == (caught.value.retry_after, idp.count("token"))


def test_a_refusal_names_the_host() -> None:
    """Whoever only sees the error of a request to an API knows that it was the token endpoint that refused."""
    with LocalIdP() as idp:
        wrong = ClientCredentialsFetcher(token_url=f"{idp.url}/nowhere", client_id="client", client_secret="secret")
        with pytest.raises(AuthenticationError, match=f"at {urlsplit(idp.url).netloc} refused with status 404"):
            wrong.fetch()
