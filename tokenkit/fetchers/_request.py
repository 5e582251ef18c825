"""What is sent to a token endpoint, checked before any network."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, final

from tokenkit._dataclasses import dataclass, field
from tokenkit.errors import ConfigurationError

__all__ = ["TokenRequest"]


@final
@dataclass(frozen=True, repr=False)
class TokenRequest:
    """What to send. Its repr shows none of it.

    Args:
        method: The HTTP method.
        url: Where to.
        headers: Header fields.
        data: The parameters; a sequence as a value repeats its name.
        content_type: 'form' or 'json'. GET and HEAD send the parameters in the query.
        spends_refresh_token: Whether a refresh token is in it, under whatever name.
    """

    method: str
    url: str
    headers: Mapping[str, str] = field(default_factory=dict)
    data: Mapping[str, Any] = field(default_factory=dict)
    content_type: str = "form"
    spends_refresh_token: bool = False

    @property
    def repeatable(self) -> bool:
        """Whether it may be sent again once it may have arrived: not with a refresh token (RFC 9700 4.14.2)."""
        return not (self.spends_refresh_token or self.data.get("refresh_token"))

    def parts(self) -> dict[str, Any]:
        """Return the arguments that ``Session.request`` takes for it."""
        headers = {"Accept": "application/json", **self.headers}
        for name, value in headers.items():
            if not isinstance(value, (str, bytes)) or not _is_one_line(value):
                raise ConfigurationError(f"the request's header {name!r} must be a string without a line break")
        parts: dict[str, Any] = {"method": self.method, "url": self.url, "headers": headers}
        if self.data:
            in_body = "json" if self.content_type == "json" else "data"
            parts["params" if self.method in ("GET", "HEAD") else in_body] = self.data
        return parts


def _is_one_line(value: str | bytes) -> bool:
    text = value if isinstance(value, str) else value.decode("latin-1")
    return not {"\r", "\n", "\0"}.intersection(text) and text == text.lstrip()
