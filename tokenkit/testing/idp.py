"""A real identity provider for tests: sockets, threads and grants, on 127.0.0.1 and nowhere else.

:class:`LocalIdP` is the face of four parts: ``authority`` knows which token is good, ``endpoints`` what a path answers,
``faults`` what goes wrong, and ``traffic`` what came in.
"""

from __future__ import annotations

import ssl
from collections import Counter
from collections.abc import Collection, Mapping
from datetime import datetime, timedelta, timezone
from typing import Any, Literal, final

from tokenkit.clock import Clock, SystemClock
from tokenkit.testing._idp.addresses import Addresses, name_in_no_proxy
from tokenkit.testing._idp.authority import Authority, Client, TokenKind
from tokenkit.testing._idp.endpoints import ENDPOINTS
from tokenkit.testing._idp.faults import FaultKind, make_fault
from tokenkit.testing._idp.messages import Request
from tokenkit.testing._idp.service import Service
from tokenkit.testing._idp.traffic import RequestRecord
from tokenkit.testing._idp.visitor import visit
from tokenkit.testing.settings import Settings
from tokenkit.tokens import Token

__all__ = ["LocalIdP"]


@final
class LocalIdP(Settings, Addresses):
    """Serve tokens, and a resource that wants them, until :meth:`stop` or the end of a ``with`` block.

    Everything may be called and set from any thread while it runs. It never writes to stderr.

    * ``/token``: client credentials, password, refresh token (with rotation and reuse detection), JWT bearer,
      token exchange, authorization code and device code; ``/revoke``, ``/introspect`` and the metadata of RFC 8414.
    * A person's sign-in: ``/authorize`` (PKCE, loopback redirects), ``/par``, ``/device_authorization`` and the page
      ``/activate``; :meth:`approve` and :meth:`deny` do what the person would.
    * Three steps that build on each other. ``/device`` takes ``device_id`` and answers
      ``{"data": {"token": ...}, "expires_in": ...}``; ``/app`` wants it as ``X-Device-Token`` and answers in the
      headers ``Authorization`` and ``X-Expires-In``; ``/user`` wants that as ``X-App-Token`` as well, with
      ``username`` and ``password``, and answers like ``/token``.
    * ``/api/`` and anything below wants an access token and answers with what it saw, in JSON: ``method``, ``path``,
      ``query``, ``headers``, ``body``, ``body_length``, ``token_fingerprint``. Below it, ``forbidden`` answers 403
      ``insufficient_scope``, ``always-401`` refuses good tokens too, ``redirect?to=URL&status=302`` redirects, and
      ``cookie`` sets the cookie ``seen``, with a 401 too.

    There is the client ``client`` with the secret ``secret``, and the users ``alice`` (``wonderland``) and
    ``bob`` (``builder``).

    Requests are counted, delayed and failed by endpoint (``token``, ``revoke``, ``introspect``, ``metadata``,
    ``device``, ``app``, ``user``, ``api``) or by what is below: ``token:refresh_token`` (of a grant's URN the last
    part: ``token:jwt-bearer``), ``api:orders/1``.

    Args:
        lifetime: Seconds that tokens live; 3600 where nothing is said. It and the next three are attributes too, to be
            set at any time, with ``lifetimes`` and ``latencies``: see :class:`~tokenkit.testing.settings.Settings`.
        latency: Seconds before every answer.
        rotate_refresh_tokens: Whether a refresh token can be spent once only.
        issue_refresh_tokens: Where refresh tokens are issued.
        clock: What tokens expire on; None: the machine's. Latency is always real time.
        host: The name in :attr:`url`: requests takes ``127.0.0.1`` and ``localhost`` for different hosts.
        tls: A server's context, to be reached by https; None: http.

    Example:
        >>> import requests
        >>> with LocalIdP(lifetime=60) as idp:
        ...     form, client = {"grant_type": "client_credentials"}, ("client", "secret")
        ...     requests.post(idp.token_url, form, auth=client).json()["expires_in"]
        60
    """

    def __init__(
        self,
        *,
        lifetime: float | None = 3600.0,
        latency: float = 0.0,
        rotate_refresh_tokens: bool = True,
        issue_refresh_tokens: bool | Collection[str] = True,
        clock: Clock | None = None,
        host: Literal["127.0.0.1", "localhost"] = "127.0.0.1",
        tls: ssl.SSLContext | None = None,
    ) -> None:
        super().__init__(lifetime, latency, rotate_refresh_tokens, issue_refresh_tokens)
        self._authority = Authority(clock or SystemClock(), self)
        self._service = Service(self._authority, self, host, tls)
        self._traffic = self._service.traffic
        self.add_client("client", "secret")
        self.add_user("alice", "wonderland")
        self.add_user("bob", "builder")

    def __repr__(self) -> str:
        return f"<LocalIdP {self._service.url}>" if self._service.port else "<LocalIdP not started>"

    def __enter__(self) -> LocalIdP:
        self.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.stop()

    @property
    def url(self) -> str:
        """Where it listens, without a slash at the end; a RuntimeError before :meth:`start`."""
        return self._service.url

    def start(self) -> None:
        """Listen: on a free port at first, on the same one after a :meth:`stop`, with all tokens still known."""
        name_in_no_proxy("127.0.0.1")
        self._service.start()

    def stop(self) -> None:
        """Hang up on everybody, forget all failures, and return when no thread and no socket is left."""
        self._service.stop()

    def add_client(
        self,
        client_id: str,
        client_secret: str | None = None,
        *,
        key: str | None = None,
        scopes: Collection[str] | None = None,
        grants: Collection[str] | None = None,
    ) -> None:
        """Register a client, in place of one of the same identifier.

        Args:
            client_id: Its identifier.
            client_secret: Its secret, also for ``client_secret_jwt``; None, with no *key*: a public client.
            key: The PEM public key for ``private_key_jwt``.
            scopes: What it may ask for; None: anything.
            grants: What it may use, such as ``{"client_credentials", "jwt-bearer"}``; None: all.
        """
        limits = (None if names is None else frozenset(names) for names in (scopes, grants))
        self._authority.add_client(Client(client_id, client_secret, key, *limits))

    def add_user(self, username: str, password: str) -> None:
        """Let *username* sign in with *password*."""
        self._authority.add_user(username, password)

    def trust_issuer(self, issuer: str, key: str) -> None:
        """Accept assertions (RFC 7523) of *issuer*; *key* is a PEM public key or a shared secret."""
        self._authority.trust_issuer(issuer, key)

    def approve(self, asked: str, username: str = "alice") -> int:
        """Sign in as *username* as a person would, by browser or at a device.

        Args:
            asked: The URL that the person was shown, or a device's code.
            username: Who signs in.

        Returns:
            The status of the last page: of a browser's sign-in the one that the program itself shows.
        """
        return visit(self._authority, self.url, asked, username)

    def deny(self, asked: str) -> int:
        """Say no where :meth:`approve` says yes."""
        return visit(self._authority, self.url, asked, None)

    def issue(
        self,
        subject: str = "alice",
        *,
        client_id: str = "client",
        kind: TokenKind = "access",
        scope: str | None = None,
        lifetime: float | None = None,
    ) -> Token:
        """Return a new token that no request asked for.

        Args:
            subject: Whom it speaks for.
            client_id: Whom it is issued to.
            kind: What it is good for: ``access``, ``refresh``, ``device`` or ``app``.
            scope: Space-separated scopes, or None.
            lifetime: Seconds; None: that of all tokens.
        """
        lifetime = self.lifetime if lifetime is None else lifetime
        issued = self._authority.issue(kind, lifetime, subject=subject, client_id=client_id, scope=scope)
        since = datetime.fromtimestamp(issued.issued_at, timezone.utc)
        until = None if lifetime is None else since + timedelta(seconds=lifetime)
        return Token(issued.value, issued_at=since, expires_at=until, scope=scope)

    def is_active(self, token: Token | str) -> bool:
        """Say whether *token* would be accepted now."""
        return self._authority.find(_value(token)) is not None

    def revoke(self, token: Token | str) -> bool:
        """Revoke *token* and say whether it was known; with a refresh token goes all that came of its sign-in."""
        return self._authority.revoke(_value(token))

    def revoke_current(self, kind: TokenKind = "access") -> bool:
        """Revoke the token of *kind* that was issued last, and say whether there was one."""
        return self._authority.revoke_newest(kind)

    def revoke_all(self, kind: TokenKind | None = None) -> int:
        """Revoke every token (of *kind*, if given), and return how many there were."""
        return self._authority.revoke_all(kind)

    def fail(
        self,
        endpoint: str,
        *,
        kind: FaultKind = "status",
        status: int | None = None,
        times: int | None = 1,
        retry_after: float | str | None = None,
        body: str | bytes | Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        processed: bool = False,
    ) -> None:
        """Let the next requests to *endpoint* fail; several calls line up one after the other.

        With *status*, *body* or *headers*, that is what is answered; otherwise what the kind says. These answer at
        once: ``status`` (503, no body), ``empty`` (200), ``html`` (200), ``redirect`` (302 to ``/api/``), ``gzip``
        (200 that cannot be unpacked). These send the real answer badly: ``chunked`` (in chunks, which is no
        failure), ``drip`` (a byte every 50 ms, the rest when healed), ``truncate`` (half of the body),
        ``truncate_headers`` (which requests takes for an answer without a body), and ``hang`` (late: when healed).
        ``endless`` sends a body without an end. ``garbage`` (not HTTP), ``reset`` and ``close`` send no answer.

        Args:
            endpoint: Or what is below one: ``token:refresh_token``, ``api:orders``.
            kind: What happens.
            status: The status to answer with; None: the kind's.
            times: For how many requests; None: until :meth:`heal`.
            retry_after: The header ``Retry-After``, in seconds or as a date.
            body: What to answer; a mapping is sent as JSON.
            headers: Headers of that answer.
            processed: Whether the request takes effect all the same, as when a spent refresh token's answer is lost.

        Raises:
            ValueError: There is no such endpoint or kind, or the answer given would never be seen.
        """
        if endpoint.partition(":")[0] not in ENDPOINTS:
            raise ValueError(f"no such endpoint: {endpoint!r}")
        if retry_after is not None:
            headers = {**(headers or {}), "Retry-After": str(retry_after)}
        fault = make_fault(kind, status=status, body=body, headers=headers, processed=processed)
        self._service.faults.add(endpoint, fault, times)

    def heal(self, endpoint: str | None = None) -> None:
        """End the failures of *endpoint* (None: all of them); requests that hang or drip are answered now."""
        self._service.faults.heal(endpoint)

    @property
    def counts(self) -> Counter[str]:
        """A copy of the number of requests by endpoint and by what is below; what never came counts 0."""
        return self._traffic.counts

    def count(self, endpoint: str) -> int:
        """Return how many requests to *endpoint*, or what is below one, arrived."""
        return self._traffic.counts[endpoint]

    def reset_counts(self) -> None:
        """Count from zero again, connections and the most at once included, and forget the last requests."""
        self._traffic.reset()

    def wait_for_requests(self, endpoint: str, n: int = 1, timeout: float = 5.0) -> None:
        """Return once *n* requests to *endpoint* arrived, answered or not; an AssertionError after *timeout* s."""
        self._traffic.wait_until_arrived(endpoint, n, timeout)

    @property
    def max_in_flight(self) -> Counter[str]:
        """A copy of the most requests that were in flight at once, counted as :attr:`counts`."""
        return self._traffic.max_in_flight

    @property
    def connections(self) -> int:
        """How many connections were accepted."""
        return self._traffic.connections

    @property
    def reuse_detected(self) -> int:
        """How often a spent refresh token was shown again."""
        return self._authority.reuse_detected

    @property
    def requests(self) -> list[RequestRecord]:
        """The last 1000 requests, oldest first: names of headers and form fields, none of their values."""
        return self._traffic.records

    def last_request(self, endpoint: str = "token") -> Request:
        """Return the last request to *endpoint*, values and all; an AssertionError where there was none."""
        return self._traffic.last(endpoint)

    @property
    def last_form(self) -> dict[str, list[str]]:
        """The form of the last request to the token endpoint, each field with all its values."""
        return self.last_request().form

    @property
    def last_headers(self) -> Mapping[str, str]:
        """The headers of the last request to the token endpoint, by lower-case name."""
        return self.last_request().headers


def _value(token: Token | str) -> str:
    return token if isinstance(token, str) else token.access_token
