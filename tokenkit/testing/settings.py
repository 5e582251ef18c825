"""What a test may set on the identity provider at any time."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

__all__ = ["Settings"]


@dataclass(eq=False, repr=False)
class Settings:
    """Each is one reference, replaced whole and read once a request; in the dicts a test sets one item.

    Args:
        lifetime: Seconds that an access or step token lives; None: for ever.
        latency: Seconds before every answer.
        rotate_refresh_tokens: Whether a refresh token can be spent once only.
        issue_refresh_tokens: True: where a person signs in (``password``, ``authorization_code``, ...). False: nowhere.
            Otherwise the grants that do, such as ``{"client_credentials"}``.
        device_interval: Seconds that a device must wait between two questions (RFC 8628 section 3.5).
        device_lifetime: Seconds that a device's code lives.
        takes_pushed_requests: Whether the metadata offer pushed authorization requests (RFC 9126).
        lifetimes: Lifetimes that differ, for ``token``, ``device``, ``app``, ``user``, and ``refresh``
            (a refresh token; for ever unless it is set here).
        latencies: Latencies that differ, by endpoint or what is below it.
    """

    lifetime: float | None = 3600.0
    latency: float = 0.0
    rotate_refresh_tokens: bool = True
    issue_refresh_tokens: bool | Collection[str] = True
    device_interval: float = 1.0
    device_lifetime: float = 600.0
    takes_pushed_requests: bool = False
    lifetimes: dict[str, float | None] = field(default_factory=dict)
    latencies: dict[str, float] = field(default_factory=dict)
