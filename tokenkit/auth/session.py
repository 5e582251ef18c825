"""A requests.Session that authorises every request, knows a base URL, and keeps a deadline over a whole call."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping
from copy import copy
from datetime import timedelta
from typing import Any
from urllib.parse import urljoin, urlsplit

import requests
from requests import PreparedRequest, Request, Response
from requests.exceptions import InvalidURL, RequestException, Timeout
from urllib3.util import Retry

from tokenkit._net.deadline import deadline, time_left
from tokenkit._net.urls import is_local, without_environment
from tokenkit.auth._adapter import DeadlineAdapter
from tokenkit.auth._arguments import checked_duration, checked_limits, checked_wait
from tokenkit.auth._origins import origin_of
from tokenkit.auth._pending import Pending, authorise
from tokenkit.auth._redirects import redirect_target
from tokenkit.auth._verbs import Verbs
from tokenkit.auth._withheld import keep_within_rules, restore, strip_credentials
from tokenkit.auth.bearer import BearerAuth
from tokenkit.clock import SystemClock
from tokenkit.contracts import TokenFetcher, TokenPipeline, TokenProvider
from tokenkit.errors import ConfigurationError
from tokenkit.manager import ManagerPool, TokenManager
from tokenkit.tokens import Token

__all__ = ["AuthorizedSession"]

_clock = SystemClock()


class AuthorizedSession(Verbs):
    """A session whose requests carry a manager's token, wherever requests' own can be used.

    While the session has an auth, ``.netrc`` is not looked at, neither for the first request nor after a redirect;
    proxies of the environment are, but not on the way to this machine. A redirect keeps the token within its origin,
    and on the way to another one that *origins* lists. Pickles with its manager. :meth:`close` leaves the manager open,
    which others may share, unless this session has made it. As safe between threads as requests' session: sending is,
    changing its attributes is not.

    Args:
        manager: Where tokens come from: a manager, or what a manager takes as its source; see
            :class:`~tokenkit.auth.BearerAuth`.
        base_url: What relative URLs are below: with ``https://host/v1`` or ``https://host/v1/``, ``users`` is
            ``/v1/users`` and ``/users`` is ``/users``.
        header: The header to set.
        scheme: The word before the token. None: the one that the token says; ``""``: none.
        refresh_status_codes: The statuses that say that a token is no good.
        max_refresh_attempts: How often one request may be sent again with another token. None said: 2; 0: never.
        refresh_timeout: Seconds that a request waits for a token. None: as the manager's policy says.
        timeout: Seconds for the connection and for each read, or a pair of them, where a request gives none: 120. None:
            no limit.
        retries: How often to try again, for both schemes: a number, which means what urllib3's ``Retry`` of that number
            means, or a policy. Of a number: failed connections with any method; after the request was sent, a broken
            answer, and a 413, 429 or 503 that says ``Retry-After``, with the methods that may be repeated (not POST
            and PATCH). ``Retry-After`` is slept for, an hour if it says so, unless *max_allowed_time* leaves less: the
            caller then gets that answer. None: never.
        origins: Only these get the token; see :class:`~tokenkit.auth.BearerAuth`. None: any https URL, and loopback.
        extra_headers: Further headers that go exactly where the token goes; see :class:`~tokenkit.auth.BearerAuth`.
        key: With a pool, the key of all requests, or a function of a prepared one; see
            :class:`~tokenkit.auth.BearerAuth`.
        allow_insecure: Whether ``http://`` beyond loopback may carry the token.

    Raises:
        ConfigurationError: An argument is wrong.

    Example:
        >>> from tokenkit.fetchers import StaticTokenFetcher
        >>> source = StaticTokenFetcher("a-token")
        >>> with AuthorizedSession(source, base_url="https://api.example.com/v1") as session:
        ...     request = requests.Request("GET", "orders")
        ...     session.prepare_request(request).url
        'https://api.example.com/v1/orders'
    """

    __attrs__: list[str] = [*requests.Session.__attrs__, "base_url", "timeout", "_made"]  # noqa: RUF012  # as requests has it

    def __init__(
        self,
        manager: TokenManager | ManagerPool | TokenProvider | TokenFetcher | TokenPipeline,
        *,
        base_url: str | None = None,
        header: str = "Authorization",
        scheme: str | None = None,
        refresh_status_codes: Iterable[int] = (401,),
        max_refresh_attempts: int = 2,
        refresh_timeout: float | timedelta | None = None,
        timeout: float | tuple[float | None, float | None] | None = 120,
        retries: int | Retry | None = None,
        origins: Iterable[str] | None = None,
        extra_headers: Mapping[str, str] | Callable[[Token], Mapping[str, str]] | None = None,
        key: Hashable | Callable[[PreparedRequest], Hashable] | None = None,
        allow_insecure: bool = False,
    ) -> None:
        super().__init__()
        if base_url is not None and (not isinstance(base_url, str) or origin_of(base_url) is None):
            raise ConfigurationError("base_url must be an absolute http:// or https:// URL")
        self.base_url = base_url
        self.timeout: float | tuple[float | None, float | None] | None = checked_limits(timeout)
        adapter = DeadlineAdapter(retries)
        self._made = BearerAuth(
            manager,
            header=header,
            scheme=scheme,
            refresh_status_codes=refresh_status_codes,
            max_refresh_attempts=max_refresh_attempts,
            timeout=checked_wait(refresh_timeout, "refresh_timeout"),
            origins=origins,
            extra_headers=extra_headers,
            key=key,
            allow_insecure=allow_insecure,
        )
        self.auth: Any = self._made  # whatever requests takes, should a user put it there
        self.mount("https://", adapter)
        self.mount("http://", adapter)

    def request(
        self,
        method: str | bytes,
        url: str | bytes,
        params: Any = None,
        data: Any = None,
        headers: Any = None,
        cookies: Any = None,
        files: Any = None,
        auth: Any = None,
        timeout: float | tuple[float | None, float | None] | None = None,
        allow_redirects: bool = True,
        proxies: Any = None,
        hooks: Any = None,
        stream: bool | None = None,
        verify: Any = None,
        cert: Any = None,
        json: Any = None,
        *,
        max_allowed_time: float | timedelta | None = None,
    ) -> Response:
        """Send a request, as ``requests.Session.request`` does, in a limited time.

        Args:
            method: As there, and so are all others but these:
            url: May be relative to ``base_url``.
            params: As there.
            data: As there.
            headers: As there.
            cookies: As there.
            files: As there.
            auth: Used in place of the token. ``()`` sends none, None the session's.
            timeout: Seconds for the connection and for each read, or a pair of them. None: the session's.
            allow_redirects: As there.
            proxies: As there.
            hooks: As there.
            stream: As there; what is read after this call returned has no deadline.
            verify: As there.
            cert: As there.
            json: As there.
            max_allowed_time: Seconds for the whole call: waiting for a token, connecting, sending, redirects, retries
                and the pauses between them, reading the answer. Three things may take longer: the lookup of a host's
                name, an answer that drips through a SOCKS proxy, and code of yours that runs meanwhile (a slow body,
                a response hook, an adapter, the pauses of a subclass of ``Retry``, a source under a manager with
                ``background=False``). None: no limit.

        Raises:
            requests.exceptions.Timeout: *max_allowed_time* was over.
            requests.exceptions.RequestException: As there; every error of tokenkit is one.
        """

        def send() -> Response:
            return super(AuthorizedSession, self).request(
                method, url, params, data, headers, cookies, files, auth, timeout,
                allow_redirects, proxies, hooks, stream, verify, cert, json,
            )  # fmt: skip

        if max_allowed_time is None:
            return send()
        limit = checked_duration(max_allowed_time)
        end = _clock.monotonic() + min(limit, time_left())
        with deadline(end):
            try:
                return send()
            except RequestException as error:
                if isinstance(error, Timeout) or _clock.monotonic() < end:
                    raise
                late = Timeout(f"the call took longer than {limit:g} s", request=error.request)
            raise late

    def prepare_request(self, request: Request) -> PreparedRequest:
        """Prepare *request*, relative URLs included, without waiting for a token.

        A fresh token is put on at once. Where there is none :meth:`send` of this session does it, and until then the
        request has a stand-in, which no server accepts.
        """
        request = copy(request)  # stays as it is, for other sessions
        if self.base_url is not None:
            request.url = _joined(self.base_url, request.url)
        auth = self.auth if request.auth is None else request.auth
        if isinstance(auth, BearerAuth):
            request.auth = Pending(auth._authoriser).prepare
        return super().prepare_request(request)

    def send(self, request: PreparedRequest, **kwargs: Any) -> Response:
        """Send a prepared request, as ``requests.Session.send`` does, by default with this session's time-out.

        Raises:
            requests.exceptions.RequestException: As there, and where there is no token for the request.
        """
        if kwargs.get("timeout") is None:
            kwargs["timeout"] = self.timeout
        if "proxies" not in kwargs and is_local(request.url):
            kwargs["proxies"] = dict(self.proxies)
        try:
            authorise(request)
            keep_within_rules(request)
            if type(self).rebuild_auth is AuthorizedSession.rebuild_auth:
                restore(request)  # what follows a redirect loses its token there
            return super().send(request, **kwargs)
        except RequestException as error:
            if error.request is None:  # as where the answer's body breaks
                error.request = request
            raise

    def merge_environment_settings(self, url: Any, proxies: Any, stream: Any, verify: Any, cert: Any) -> Any:
        """Return the options of a request, as requests' session does, but go to this machine directly."""
        given = dict(proxies or {})
        settings = super().merge_environment_settings(url, proxies, stream, verify, cert)
        if is_local(url):
            settings["proxies"] = {**self.proxies, **given}
        return settings

    def rebuild_proxies(self, prepared_request: PreparedRequest, proxies: Any) -> Any:
        """Return the proxies of a redirected request, as requests' session does, but go to this machine directly."""
        if not is_local(prepared_request.url):
            return super().rebuild_proxies(prepared_request, proxies)  # type: ignore[no-untyped-call]  # in the stubs
        prepared_request.headers.pop("Proxy-Authorization", None)  # the adapter knows that of the proxy it uses
        return without_environment(proxies or {})

    def close(self) -> None:
        """Close the connections, and the manager if this session has made it."""
        super().close()
        self._made.close()

    def rebuild_auth(self, prepared_request: PreparedRequest, response: Response) -> None:
        """Take the credential off a redirected request that leaves its origin. Never put another one on."""
        here = response.request.url or ""
        leaves_host = self.should_strip_auth(here, prepared_request.url)  # type: ignore[no-untyped-call]  # in the stubs
        strip_credentials(prepared_request, here, leaves_host=leaves_host)

    def get_redirect_target(self, resp: Response) -> str | None:
        """Return where *resp* redirects to, as requests' session does.

        Raises:
            requests.exceptions.InvalidURL: That is no URL.
        """
        redirect_target(resp)
        return super().get_redirect_target(resp)


def _joined(base: str, url: Any) -> str:
    try:
        relative = url.decode() if isinstance(url, bytes) else str(url)
        parts = urlsplit(relative)
        at = urlsplit(base)
        if parts.path and not at.path.endswith("/"):
            base = at._replace(path=f"{at.path}/").geturl()
        if "//" in parts.path and not (parts.scheme or parts.netloc or parts.path.startswith("/")):
            # urljoin() keeps the empty segments, as of a//b, of a path from the root only.
            relative = parts._replace(path=(urlsplit(urljoin(base, ".")).path or "/") + parts.path).geturl()
        return urljoin(base, relative)
    except ValueError:  # not quoted: it may hold a password
        raise InvalidURL("the URL cannot be joined to base_url") from None
