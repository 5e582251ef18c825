"""How one call for a token is to be treated, as a value or as a mapping of strings."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from datetime import timedelta
from functools import partial
from typing import Final, TypeVar, final

from tokenkit._checks import is_count, is_seconds, seconds
from tokenkit._dataclasses import dataclass
from tokenkit.errors import ConfigurationError

__all__ = [
    "OPTION_MAX_RETRIES",
    "OPTION_RENEW_REQUEST_TIMEOUT",
    "OPTION_RENEW_REQUIRED",
    "OPTION_RENEW_SYNCHRONOUS",
    "OPTION_REPORT_ERROR",
    "FetchOptions",
]

logger: logging.Logger = logging.getLogger("tokenkit")

_N = TypeVar("_N", int, float)

OPTION_RENEW_REQUIRED: Final = "token_renew_required"
OPTION_RENEW_SYNCHRONOUS: Final = "token_renew_synchronous"
OPTION_REPORT_ERROR: Final = "token_renew_report_error"
OPTION_RENEW_REQUEST_TIMEOUT: Final = "token_renew_request_timeout"
OPTION_MAX_RETRIES: Final = "max_fetch_token_retries"


@final
@dataclass(frozen=True, kw_only=True)
class FetchOptions:
    """How one call for a token is to be treated.

    Args:
        renew_required: The current token does not count; the call waits for a renewal, or joins one under way.
        renew_synchronous: Where a renewal is needed it starts now, back-off or not.
        report_error: Raise when an attempt fails. False keeps waiting through failed attempts until the time-out.
        renew_request_timeout: Seconds, or a timedelta, that an attempt started for this call may take. None: the
            policy's ``refresh_request_timeout``.
        max_retries: How often a receiver may try again. None: the policy's ``max_retries``; 0: never.

    Raises:
        ConfigurationError: A value is of the wrong type or out of range.

    Example:
        >>> now = FetchOptions(
        ...     renew_required=True, renew_request_timeout=5
        ... )  # for manager.get_token(options=now)
        >>> now.renew_request_timeout
        5.0
    """

    renew_required: bool = False
    renew_synchronous: bool = False
    report_error: bool = True
    renew_request_timeout: float | timedelta | None = None
    max_retries: int | None = None

    def __post_init__(self) -> None:
        for name in ("renew_required", "renew_synchronous", "report_error"):
            if not isinstance(getattr(self, name), bool):
                raise ConfigurationError(f"{name} must be True or False")
        limit = self.renew_request_timeout
        if limit is not None:
            limit = seconds("renew_request_timeout", limit, zero=False, infinite=False)
            object.__setattr__(self, "renew_request_timeout", limit)
        if self.max_retries is not None and not is_count(self.max_retries):
            raise ConfigurationError("max_retries must be a whole number, at least 0")

    @classmethod
    def of(cls, options: FetchOptions | Mapping[str, str] | None) -> FetchOptions:
        """Return *options* as a value, whichever of the accepted forms it has.

        In a mapping, any non-empty string switches a flag on and an empty one switches it off; a number that does
        not parse, or is out of range, is logged and ignored, and so are other keys, without a log entry.

        Raises:
            ConfigurationError: *options* is neither of these nor None.
        """
        if options is None:
            return _DEFAULT
        if isinstance(options, FetchOptions):
            return options
        if not isinstance(options, Mapping):
            raise ConfigurationError(f"options must be FetchOptions or a mapping, not {type(options).__name__}")
        return cls(
            renew_required=bool(options.get(OPTION_RENEW_REQUIRED, False)),
            renew_synchronous=bool(options.get(OPTION_RENEW_SYNCHRONOUS, False)),
            report_error=bool(options.get(OPTION_REPORT_ERROR, True)),
            renew_request_timeout=_parsed(options, OPTION_RENEW_REQUEST_TIMEOUT, float, _is_timeout),
            max_retries=_parsed(options, OPTION_MAX_RETRIES, int, is_count),
        )


_DEFAULT = FetchOptions()
_is_timeout = partial(is_seconds, zero=False, infinite=False)


def _parsed(
    options: Mapping[str, str], name: str, parse: Callable[[str], _N], is_valid: Callable[[_N], bool]
) -> _N | None:
    text = options.get(name)
    if text is None or text == "":
        return None
    try:
        number = parse(text)
    except (TypeError, ValueError, OverflowError):
        number = None
    if number is None or not is_valid(number):
        logger.warning("option %s is not a usable number and is ignored [option-ignored]", name)
        return None
    return number
