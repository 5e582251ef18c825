"""Threads that begin at one moment, and what becomes of each."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import requests

URL = "https://api.example.com/v1/users/1?full=1"


def prepared(url: str = URL) -> requests.PreparedRequest:
    return requests.Request("GET", url, headers={"Accept": "*/*"}).prepare()


@dataclass
class Crowd:
    """What came of it: the seconds of each who got an answer, and of each who got an error."""

    good: list[float] = field(default_factory=list)
    bad: list[float] = field(default_factory=list)

    @property
    def answered(self) -> int:
        return len(self.good) + len(self.bad)

    @property
    def wall(self) -> float:
        return max([*self.good, *self.bad], default=0.0)


def gather(number: int, work: Callable[[], bool], patience: float) -> Crowd:
    """Let *number* threads do *work* at once, and wait *patience* seconds for them; False is an error, too."""
    crowd, moments = Crowd(), list[float]()
    gate = threading.Barrier(number, action=lambda: moments.append(time.perf_counter()))

    def one() -> None:
        gate.wait()
        try:
            is_good = work()
        except Exception:
            is_good = False
        spent = time.perf_counter() - moments[0]
        (crowd.good if is_good else crowd.bad).append(spent)

    threads = [threading.Thread(target=one, daemon=True) for _ in range(number)]
    for thread in threads:
        thread.start()
    end = time.monotonic() + patience
    for thread in threads:
        thread.join(max(0.0, end - time.monotonic()))
    return Crowd(list(crowd.good), list(crowd.bad))


def quantile(values: list[float], share: float) -> float:
    """Return the least of *values* that *share* of them do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
