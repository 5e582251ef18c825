"""What the client showed when it asked last, and whether it has others by now."""

from __future__ import annotations

from typing import NamedTuple, final

from tokenkit.contracts import TokenProvider

__all__ = ["Credentials", "Shown"]


class Shown(NamedTuple):
    """What tells the credentials of one moment from those of another; nothing of them can be read in it."""

    certificate: str | None
    secrets: str | None


@final
class Credentials:
    """A provider's, as they were when it asked last. Each field is one reference, replaced whole by whoever asked."""

    def __init__(self, provider: TokenProvider) -> None:
        self._provider = provider
        self._certificate: str | None = None
        self._refused: str | None = None  # the secrets given by reference that were refused last, if they were

    def shown(self) -> Shown:
        """Return what is about to be shown. Ask before the provider: what comes meanwhile is another."""
        return Shown(self._provider.certificate, self._provider.credentials)

    def note_success(self, shown: Shown) -> None:
        """Note that *shown* brought a token, here or to whoever stored it."""
        self._certificate, self._refused = shown.certificate, None

    def note_failure(self, shown: Shown, *, is_final: bool) -> bool:
        """Note that *shown* brought none; return whether other secrets may."""
        self._refused = shown.secrets if is_final else None
        return self._refused is not None

    def has_new_certificate(self) -> bool:
        """Whether there is another certificate: the token is bound to the one it was asked with (RFC 8705)."""
        held = self._certificate
        return held is not None and self._provider.certificate not in (None, held)

    def has_new_secret(self) -> bool:
        """Whether a secret given by reference has changed since the provider was refused."""
        refused = self._refused
        return refused is not None and self._provider.credentials not in (None, refused)
