"""Who may have which token, and which tokens are good: the rules of the identity provider, without a socket.

:class:`Authority` owns clients, users and every token it ever issued. Reading parameters of a grant is left
to :mod:`tokenkit.testing._idp.grants`, HTTP to :mod:`tokenkit.testing._idp.endpoints`.
"""

from __future__ import annotations

import itertools
import secrets
import threading
from dataclasses import dataclass
from typing import Literal, final

from tokenkit.clock import Clock
from tokenkit.testing._idp.messages import Refusal
from tokenkit.testing._idp.sign_ins import SignIns
from tokenkit.testing.settings import Settings

__all__ = ["Authority", "Client", "IssuedToken", "TokenKind"]

TokenKind = Literal["access", "refresh", "device", "app"]
_OF_PEOPLE = ("password", "user", "authorization_code", "device_code")  # grants by which a person signs in


@final
@dataclass(frozen=True, slots=True)
class Client:
    """A registered client; its repr shows its identifier alone.

    Args:
        client_id: Its identifier.
        secret: Its password; None makes it public.
        key: The PEM public key that ``private_key_jwt`` assertions are verified with, or None.
        scopes: What it may ask for; None: anything.
        grants: The grants it may use, by their short names; None: all.
    """

    client_id: str
    secret: str | None = None
    key: str | None = None
    scopes: frozenset[str] | None = None
    grants: frozenset[str] | None = None

    def __repr__(self) -> str:
        return f"<Client {self.client_id}>"


@final
@dataclass(frozen=True, slots=True)
class IssuedToken:
    """A token as its issuer remembers it; its repr does not show it.

    Args:
        value: The token itself.
        kind: What it is good for.
        family: The sign-in it stems from, shared with what was refreshed from it.
        subject: Whom it speaks for.
        client_id: Whom it was issued to.
        scope: Space-separated scopes, or None.
        targets: The audiences and resources it was asked for.
        issued_at: Seconds since the epoch.
        lifetime: Seconds, or None: it does not expire.
        deadline: When it expires on the authority's monotonic clock, or None.
    """

    value: str
    kind: TokenKind
    family: int
    subject: str
    client_id: str
    scope: str | None
    targets: tuple[str, ...]
    issued_at: float
    lifetime: float | None
    deadline: float | None

    @property
    def expires_in(self) -> float | None:
        """The lifetime as it is told: a whole number is sent as one."""
        seconds = self.lifetime
        return int(seconds) if seconds is not None and seconds == int(seconds) else seconds

    def __repr__(self) -> str:
        return f"<IssuedToken {self.kind} for {self.subject}>"


@final
class Authority:
    """Issue tokens, look them up, and take them back. Safe from any thread; nothing here blocks.

    Args:
        clock: What tokens expire on.
        settings: How long they live, and which refresh tokens there are.
    """

    def __init__(self, clock: Clock, settings: Settings) -> None:
        self._lock = threading.Lock()
        # Guarded by _lock:
        self._clients: dict[str, Client] = {}
        self._users: dict[str, str] = {}
        self._issuers: dict[str, str] = {}
        self._live: dict[str, IssuedToken] = {}
        self._gone: dict[str, tuple[IssuedToken, str]] = {}  # revoked and spent ones, with the reason
        self._used: set[str] = set()
        self._reuse_detected = 0
        # Set here, never reassigned.
        self.clock = clock
        self.sign_ins = SignIns(clock)
        self._settings = settings
        self._families = itertools.count(1)

    def add_client(self, client: Client) -> None:
        """Register *client*, in place of one with the same identifier."""
        with self._lock:
            self._clients[client.client_id] = client

    def client(self, client_id: str) -> Client | None:
        """Return the client of that identifier, or None."""
        with self._lock:
            return self._clients.get(client_id)

    def add_user(self, username: str, password: str) -> None:
        """Let *username* sign in with *password*."""
        with self._lock:
            self._users[username] = password

    def has_user(self, username: str, password: str) -> bool:
        """Say whether the two belong together."""
        with self._lock:
            return self._users.get(username) == password

    def password(self, username: str) -> str:
        """Return what *username* would type."""
        with self._lock:
            return self._users[username]

    def trust_issuer(self, issuer: str, key: str) -> None:
        """Accept JWT assertions of *issuer* that *key* verifies: a PEM public key, or a shared secret."""
        with self._lock:
            self._issuers[issuer] = key

    def issuer_key(self, issuer: str) -> str | None:
        """Return the key of a trusted issuer, or None."""
        with self._lock:
            return self._issuers.get(issuer)

    def use_once(self, identifier: str) -> bool:
        """Return True the first time *identifier* is shown, False ever after."""
        with self._lock:
            fresh = identifier not in self._used
            self._used.add(identifier)
            return fresh

    def lifetime_of(self, endpoint: str) -> float | None:
        """Return the seconds that a token of *endpoint* lives, or None for ever; ``refresh``: a refresh token."""
        default = None if endpoint == "refresh" else self._settings.lifetime
        return self._settings.lifetimes.get(endpoint, default)

    def issues_refresh_token(self, grant: str) -> bool:
        """Say whether *grant* is answered with a refresh token: as a rule, where a person signed in."""
        wanted = self._settings.issue_refresh_tokens
        if isinstance(wanted, bool):
            return wanted and grant in _OF_PEOPLE
        return grant in wanted

    @property
    def rotates(self) -> bool:
        """Whether a refresh token can be spent once only."""
        return self._settings.rotate_refresh_tokens

    def issue(
        self,
        kind: TokenKind,
        lifetime: float | None,
        *,
        subject: str,
        client_id: str,
        scope: str | None = None,
        targets: tuple[str, ...] = (),
        family: int | None = None,
    ) -> IssuedToken:
        """Issue a token that lives for *lifetime* seconds (None: for ever), of a new family unless one is given."""
        issued_at = self.clock.time()
        deadline = None if lifetime is None else self.clock.monotonic() + lifetime
        value = f"{kind}-{secrets.token_urlsafe(24)}"
        family = next(self._families) if family is None else family
        token = IssuedToken(value, kind, family, subject, client_id, scope, targets, issued_at, lifetime, deadline)
        with self._lock:
            self._live[value] = token
        return token

    def find(self, value: str, kind: TokenKind | None = None) -> IssuedToken | None:
        """Return the token of that value if it is good now (and of *kind*, if given), else None."""
        now = self.clock.monotonic()
        with self._lock:
            token = self._live.get(value)
        if token is None or (kind is not None and token.kind != kind):
            return None
        return token if token.deadline is None or now < token.deadline else None

    def why_not(self, value: str) -> str:
        """Say in a word why :meth:`find` has nothing for *value*: expired, revoked, spent or unknown."""
        with self._lock:
            if value in self._live:
                return "expired"
            return self._gone[value][1] if value in self._gone else "unknown"

    def spend(self, value: str, client_id: str, scope: str | None = None) -> IssuedToken:
        """Return the refresh token of that value, forgetting it where tokens rotate.

        Args:
            value: The refresh token.
            client_id: Who shows it.
            scope: What is asked for; None: what was granted at first.

        Raises:
            Refusal: It is unknown, expired, revoked or another client's. A spent one is shown by a thief or
                by its victim, so all that came from the same sign-in is revoked (RFC 9700 section 4.14.2).
        """
        now = self.clock.monotonic()
        with self._lock:
            token = self._live.get(value)
            gone = self._gone.get(value)
            if gone is not None and gone[1] == "spent":
                self._reuse_detected += 1
                self._revoke_locked(self._family_locked(gone[0]))
            if token is None or token.kind != "refresh" or token.client_id != client_id:
                raise Refusal("invalid_grant", "the refresh token is not valid for this client")
            if token.deadline is not None and now >= token.deadline:
                raise Refusal("invalid_grant", "the refresh token has expired")
            if scope is not None and token.scope is not None and not set(scope.split()) <= set(token.scope.split()):
                raise Refusal("invalid_scope", "the scope is wider than the one that was granted")
            if self.rotates:
                self._gone[value] = (self._live.pop(value), "spent")
            return token

    def revoke(self, value: str) -> bool:
        """Take back the token of that value; say whether it was there. With a refresh token goes its family."""
        with self._lock:
            token = self._live.get(value)
            if token is None:
                return False
            self._revoke_locked(self._family_locked(token) if token.kind == "refresh" else [token])
            return True

    def revoke_newest(self, kind: TokenKind) -> bool:
        """Take back the token of *kind* that was issued last; say whether there was one."""
        with self._lock:
            newest = self._live_locked(kind)[-1:]
            self._revoke_locked(newest)
            return bool(newest)

    def revoke_all(self, kind: TokenKind | None = None) -> int:
        """Take back every token (of *kind*, if given); return how many."""
        with self._lock:
            condemned = self._live_locked(kind)
            self._revoke_locked(condemned)
            return len(condemned)

    @property
    def reuse_detected(self) -> int:
        """How often a spent refresh token was shown again."""
        with self._lock:
            return self._reuse_detected

    def _family_locked(self, token: IssuedToken) -> list[IssuedToken]:
        return [one for one in self._live.values() if one.family == token.family]

    def _live_locked(self, kind: TokenKind | None) -> list[IssuedToken]:
        return [one for one in self._live.values() if kind in (None, one.kind)]

    def _revoke_locked(self, tokens: list[IssuedToken]) -> None:
        for token in tokens:
            self._gone[token.value] = (self._live.pop(token.value), "revoked")
