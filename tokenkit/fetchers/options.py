"""How a fetcher reaches its endpoint: the arguments of its transport, said once for all fetchers that use HTTP."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import requests
from urllib3.util import Retry

from tokenkit._dataclasses import dataclass
from tokenkit._secrecy.identity import certificate_at
from tokenkit._secrecy.references import digest_behind
from tokenkit.fetchers._transport import Timeout, Transport

__all__ = ["TransportOptions"]


@dataclass(kw_only=True, eq=False, repr=False, init=False)
class TransportOptions:
    """The transport's arguments, which every fetcher takes that talks HTTP.

    Args:
        timeout: Seconds (connect, read): for the connection, and for each read. One try takes at most their sum,
            however slowly the answer drips, and what the system takes to look up the host's name. A single number is
            a limit for each of the three. The context's ``timeout`` shortens them all and ends the retries.
        verify: As for requests: whether to check certificates, or a path of trusted ones.
        cert: A client certificate, as for requests; None: none. When the file has another one, the token held is due,
            which the manager sees within its ``storage_poll`` (5 min).
        proxies: Proxies by scheme, as for requests, or a function that returns them, called at each try. None: those of
            the environment.
        session: A session of yours to use as it is, with its headers, its cookies and its ``auth``, where that sets
            another header than the fetcher does. It is not closed. The limit on one try then covers the body only,
            and retries of its adapters come on top, also for refresh tokens. None: one of its own.
        retries: Further tries after 408, 429, 500, 502 to 504 and connection failures, with back-off, jitter and
            ``Retry-After``. None: two; 0: none; an ``urllib3.util.Retry`` is taken as it is (mind its
            ``allowed_methods``, which leave out POST).
        allow_insecure: Whether ``http://`` may go beyond this machine.
    """

    timeout: Timeout = (3.05, 30)
    verify: bool | str = True
    cert: str | tuple[str, str] | None = None
    proxies: Mapping[str, str] | Callable[..., Mapping[str, str]] | None = None
    session: requests.Session | None = None
    retries: int | Retry | None = None
    allow_insecure: bool = False

    @property
    def certificate(self) -> str | None:
        """The fingerprint of *cert* as it is now; None where there is none, or none that can be read."""
        return None if self.cert is None else certificate_at(self.cert if isinstance(self.cert, str) else self.cert[0])

    @property
    def credentials(self) -> str | None:
        """A digest of what stands behind the references among the arguments now; None where none is a reference."""
        return digest_behind(list(vars(self).values()))

    def _new_transport(self) -> Transport:
        return Transport(
            timeout=self.timeout,
            verify=self.verify,
            cert=self.cert,
            proxies=self.proxies,
            session=self.session,
            retries=self.retries,
        )
