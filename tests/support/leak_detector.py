"""Looks for secrets in everything that a program may show: logs, warnings, errors and all that hangs on them, pickles.

Every secret of a test has the word :data:`CANARY` in it, so that no encoding but base64 hides it; what the identity
provider issues, assertions, and the base64 of a client's credentials are known by their form. All is looked for in
lower case: a search that ignores case takes a regular expression many times as long.
"""

import base64
import copy
import io
import logging
import pickle
import re
import sys
import traceback
import types
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from support.secrets_shown import shown

CANARY = "canary"
_ISSUED = r"(?:access|refresh|device|app)-[\w-]{32}"
_JWT = r"eyj[\w-]{8,}"
_OPAQUE = (types.ModuleType, types.FunctionType, types.TracebackType, type, logging.Logger)


class Leaks:
    """Collects what is shown, and says which secrets are in it.

    Args:
        secrets: What else must not be shown.
        credentials: Client identifiers and secrets, whose Basic credentials must not be.
    """

    def __init__(self, *secrets: str, credentials: tuple[tuple[str, str], ...] = ()) -> None:
        basics = [base64.b64encode(f"{name}:{secret}".encode()).decode().rstrip("=") for name, secret in credentials]
        literal = [re.escape(one.lower()) for one in (CANARY, *secrets, *basics)]
        self._pattern = re.compile("|".join([*literal, _ISSUED, _JWT]))
        self._shown: list[tuple[str, str]] = []

    def learn(self, *secrets: str) -> None:
        """Take *secrets*, which are known only once they were made, for what must not be shown, too."""
        literal = [re.escape(one.lower()) for one in secrets]
        self._pattern = re.compile("|".join([self._pattern.pattern, *literal]))

    def look(self, where: str, *texts: object) -> None:
        """Take note of what is shown *where*."""
        self._shown += [(where, text.decode("latin-1") if isinstance(text, bytes) else str(text)) for text in texts]

    def look_at_error(self, error: BaseException) -> None:
        """Take note of an error and its whole chain: as text, by attributes, with variables, copied and pickled."""
        self.look("str and repr", str(error), repr(error), error.args)
        self.look("the traceback", "".join(traceback.format_exception(error)))
        self.look("the variables of the traceback", shown(error))
        self.look("the attributes", *reachable(error))
        for twin in (copy.copy(error), pickle.loads(pickle.dumps(error))):
            self.look("a copy", repr(twin), vars(twin))
        self.look("the pickle", pickle.dumps(error))

    def look_at_object(self, one: object) -> None:
        """Take note of a fetcher or a manager: as text, and pickled where that is allowed."""
        self.look("repr", repr(one), str(one))
        try:
            self.look("the pickle", pickle.dumps(one))
        except TypeError as error:
            self.look("a refused pickle", "".join(traceback.format_exception(error)))

    @property
    def found(self) -> list[str]:
        """Where a secret was seen, and what of it."""
        return [
            f"{where}: {text[max(0, hit.start() - 60) : hit.end() + 20]!r}"
            for where, text in dict.fromkeys(self._shown)
            for hit in self._pattern.finditer(text.lower())
        ]


@contextmanager
def watched(leaks: Leaks, caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Take note of all log records, from DEBUG up, all warnings, and standard error, for the length of a block."""
    stderr, sys.stderr = sys.stderr, io.StringIO()
    try:
        with warnings.catch_warnings(record=True) as caught, caplog.at_level(logging.DEBUG):
            warnings.simplefilter("always")
            yield
        leaks.look("standard error", sys.stderr.getvalue())
    finally:
        sys.stderr = stderr
    for record in caplog.records:
        leaks.look(f"the log of {record.name}", record.getMessage(), record.args, record.exc_text)
        if record.exc_info and record.exc_info[1] is not None:
            leaks.look(f"an error in the log of {record.name}", *reachable(record.exc_info[1]))
    leaks.look("a warning", *(warning.message for warning in caught))


def reachable(root: object) -> Iterator[str | bytes]:
    """Yield every text that hangs on *root* by attributes and containers, an error's chain included."""
    seen: set[int] = set()
    waiting: list[Any] = [root]
    while waiting:
        one = waiting.pop()
        if id(one) in seen or isinstance(one, _OPAQUE):
            continue
        seen.add(id(one))
        if isinstance(one, (str, bytes)):
            yield one
        elif isinstance(one, dict):
            waiting += [*one.keys(), *one.values()]
        elif isinstance(one, (list, tuple, set, frozenset)):
            waiting += one
        else:
            waiting += _parts(one)


def _parts(one: Any) -> list[Any]:
    parts = list(getattr(one, "__dict__", {}).values())
    for kind in type(one).__mro__:
        slots = getattr(kind, "__slots__", ())
        parts += [getattr(one, name, None) for name in ((slots,) if isinstance(slots, str) else slots)]
    if isinstance(one, BaseException):
        parts += [one.args, one.__cause__, one.__context__]
    return parts
