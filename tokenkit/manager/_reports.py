"""What the listeners are to hear of one attempt, kept until it has landed."""

from __future__ import annotations

from typing import NamedTuple, final

from tokenkit.events import FailureFacts, facts_of

__all__ = ["Report", "Reports"]


class Report(NamedTuple):
    """One event of an attempt."""

    name: str
    result: str
    seconds: float
    failure: FailureFacts | None


@final
class Reports:
    """Written by the thread that runs the attempt, and read by it."""

    __slots__ = ("_failure", "all")

    def __init__(self) -> None:
        self.all: list[Report] = []
        self._failure: FailureFacts | None = None

    def fail(self, error: BaseException) -> None:
        """Note the failure that the next event tells of."""
        self._failure = facts_of(error)

    def tell(self, name: str, result: str, seconds: float) -> None:
        """Keep one event."""
        failure, self._failure = self._failure, None
        self.all.append(Report(name, result, seconds, failure))
