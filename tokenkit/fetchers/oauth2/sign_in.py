"""A person's sign-in: what the two flows share, and the source that spends what a flow brought.

A flow asks a person, once; :class:`SignedInFetcher` never asks anybody.
"""

from __future__ import annotations

import sys
import webbrowser
from abc import abstractmethod
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any, final

from tokenkit._checks import seconds
from tokenkit._dataclasses import dataclass
from tokenkit._secrecy.identity import signed_in_key
from tokenkit.clock import Clock, SystemClock
from tokenkit.contracts import FetchContext, TokenFetcher
from tokenkit.errors import AuthenticationError, ConfigurationError, SignInRequiredError, own_copy
from tokenkit.fetchers.oauth2.fetcher import OAuth2Fetcher
from tokenkit.tokens import Token

__all__ = ["Show", "SignInFlow", "SignInPrompt", "SignedInFetcher", "show_prompt"]

# What tells a server that names no issuer from another; "device_authorization_endpoint" ends so, too:
_TELLING = ("token_endpoint", "authorization_endpoint")


@final
@dataclass(frozen=True)
class SignInPrompt:
    """What a person must see to sign in.

    Args:
        url: The page to open.
        code: What to type there; None: nothing, the page knows.
        complete_url: A page that knows the code already, for a QR code or a browser; None: there is none.
        expires_at: Until when, in UTC.
    """

    url: str
    code: str | None
    complete_url: str | None
    expires_at: datetime


Show = Callable[[SignInPrompt], object]
"""Called with what a person must see."""


def show_prompt(prompt: SignInPrompt) -> None:
    """Write *prompt* to standard error, and open its page in a browser where there is one."""
    code = f" and enter the code {prompt.code}" if prompt.code else ""
    sys.stderr.write(f"To sign in, open {prompt.url}{code}\n")
    sys.stderr.flush()
    webbrowser.open(prompt.complete_url or prompt.url)


@dataclass(kw_only=True, eq=False, repr=False)
class SignInFlow(OAuth2Fetcher):
    """What both flows share. Use :class:`DeviceSignIn` or :class:`BrowserSignIn`.

    Args:
        account: Which person's sign-in this is, where a program keeps several side by side; empty: the only one.
    """

    account: str = ""
    client_auth: str = "none"
    name: str = "sign_in"

    def __post_init__(self) -> None:
        if not isinstance(self.account, str):
            raise ConfigurationError(f"account must be a string, not {type(self.account).__name__}")
        super().__post_init__()

    def _subject(self) -> Any:
        return self.account

    @property
    def grant_key(self) -> str:
        """Under which a storage keeps the person's grant: by the issuer (or both URLs), the client and the account."""
        client = self.client_id if isinstance(self.client_id, str) else self._own
        return signed_in_key(self.issuer, *([] if self.issuer else self._pages()), client, self.account)

    def _pages(self) -> list[str | None]:
        return [self._endpoints()[name] for name in sorted(self._endpoints()) if name.endswith(_TELLING)]

    def fetch(self, context: FetchContext | None = None) -> Token:
        """Raise: only a person can give a new grant.

        Raises:
            SignInRequiredError: Always; it says what to call.
        """
        who = f" for the account {self.account!r}" if self.account else ""
        raise SignInRequiredError(
            f"{self.name}: nobody has signed in at {self._client.host}{who}, or the sign-in is no longer good; call"
            " manager.sign_in(), or run 'tokenkit login'",
            step_name=self.name,
        )

    def sign_in(
        self,
        show: Show | None = None,
        timeout: float | timedelta = 300.0,
        *,
        clock: Clock = SystemClock(),  # noqa: B008  # it has no state
    ) -> Token:
        """Ask a person, in this thread, and return the token that comes of it. Ctrl-C ends it; nothing is left behind.

        A program calls :meth:`TokenManager.sign_in <tokenkit.manager.TokenManager.sign_in>`, which also stores the
        token where the others find it.

        Args:
            show: Called with what the person must see. None: it is written to standard error, and a browser is opened
                where there is one.
            timeout: Seconds that the person has, at most; more than 0.
            clock: What time is read from.

        Raises:
            SignInRequiredError: The person did not come in time, or said no.
            AuthenticationError: The server refused, or cannot be reached.
            ConfigurationError: An argument is wrong, or an endpoint is not known.
        """
        limit = seconds("timeout", timeout, zero=False, infinite=True)
        try:
            return self._signed_in(show or show_prompt, clock, clock.monotonic() + limit)
        except AuthenticationError as error:
            failure = own_copy(error)  # without the frames whose variables hold codes
        raise failure

    @abstractmethod
    def _signed_in(self, show: Show, clock: Clock, deadline: float) -> Token:
        """Run the flow; *deadline* is on the monotonic clock."""

    def _nobody_came(self) -> SignInRequiredError:
        return SignInRequiredError(f"{self.name}: nobody signed in within the time allowed", step_name=self.name)

    def _refused(self, error: str) -> SignInRequiredError:
        said = error if error.isprintable() and error.isascii() and len(error) < 40 else "no OAuth error"
        return SignInRequiredError(f"{self.name}: the sign-in was refused ({said})", step_name=self.name)


@final
class SignedInFetcher(TokenFetcher):
    """The token of a person who signed in, renewed for as long as the grant lives. It never prompts.

    Without a usable grant it raises :class:`~tokenkit.errors.SignInRequiredError`, which says what to call. Give the
    manager a storage that outlives the process, and the person signs in once.

    Args:
        flow: How a person signs in: a :class:`DeviceSignIn` or a :class:`BrowserSignIn`.

    Raises:
        ConfigurationError: *flow* is something else.

    Example:
        >>> from tokenkit import TokenManager
        >>> from tokenkit.errors import SignInRequiredError
        >>> from tokenkit.fetchers.oauth2 import DeviceSignIn
        >>> from tokenkit.storage import InMemoryTokenStorage
        >>> flow = DeviceSignIn(issuer="https://idp.example.com", client_id="shop-cli")
        >>> manager = TokenManager(
        ...     SignedInFetcher(flow), InMemoryTokenStorage(), background=False
        ... )
        >>> try:
        ...     manager.get_token()
        ... except SignInRequiredError:
        ...     print("manager.sign_in()")
        manager.sign_in()
    """

    def __init__(self, flow: SignInFlow) -> None:
        if not isinstance(flow, SignInFlow):
            raise ConfigurationError(f"flow must be a DeviceSignIn or a BrowserSignIn, not {type(flow).__name__}")
        self.flow = flow
        self.spends_refresh_token = True
        self.name: str = flow.name
        self.depends_on: Sequence[str] = flow.depends_on
        self.ttl: timedelta | None = flow.ttl

    def __repr__(self) -> str:
        return f"<SignedInFetcher of {self.flow!r}>"

    @property
    def cache_key(self) -> str:
        return self.flow.cache_key

    @property
    def grant_key(self) -> str:
        return self.flow.grant_key

    @property
    def certificate(self) -> str | None:
        return self.flow.certificate

    @property
    def credentials(self) -> str | None:
        return self.flow.credentials

    def sign_in(self, show: Show | None, timeout: float | timedelta, *, clock: Clock) -> Token:
        """Ask a person, as :meth:`SignInFlow.sign_in` does."""
        return self.flow.sign_in(show, timeout, clock=clock)

    def fetch(self, context: FetchContext | None = None) -> Token:
        """Raise: only a person can give a new grant."""
        return self.flow.fetch(context)

    def refresh(self, current: Token, context: FetchContext | None = None) -> Token:
        return self.flow.refresh(current, context)

    def revoke(self, token: Token | str, *, timeout: float | None = None) -> None:
        """End the grant at the server, as the flow does."""
        self.flow.revoke(token, timeout=timeout)

    def close(self) -> None:
        self.flow.close()
