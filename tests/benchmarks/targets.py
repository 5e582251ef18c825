"""The targets: what was promised, what was measured beside the best peer, and whether it is met."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from benchmarks.peers import BY_NAME

OURS = "tokenkit"
Found = dict[str, Any]


@dataclass(frozen=True)
class Verdict:
    """One line of the table; *is_met* is None where nothing was measured."""

    what: str
    target: str
    ours: str
    peers: str
    is_met: bool | None


class Variant:
    """The figures of one variant of one scenario."""

    def __init__(self, found: Found, scenario: str, variant: str) -> None:
        by_name: dict[str, Any] = found["results"][scenario][variant]
        self._peers = {BY_NAME[name].label: figures for name, figures in by_name.items()}

    def of(self, peer: str, figure: str, part: str = "median") -> float:
        return float(self._peers[peer][figure][part])

    def ours(self, figure: str, part: str = "median") -> float:
        return self.of(OURS, figure, part)

    def others(self, figure: str) -> dict[str, float]:
        """Return the medians of the peers that have this figure, and neither fail nor hang in any round."""
        sound = {name: one for name, one in self._peers.items() if name != OURS and "faults" not in one}
        return {name: self.of(name, figure) for name, one in sound.items() if figure in one}

    def best(
        self, figure: str, pick: Callable[..., Any] = min, ok: Callable[[str], bool] = lambda _: True
    ) -> tuple[str, float]:
        """Return the peer whose median is the best of those that are *ok*, and that median."""
        others = {name: value for name, value in self.others(figure).items() if ok(name)}
        name = pick(others, key=others.__getitem__)
        return name, others[name]


def _fresh(found: Found) -> Verdict:
    alone = Variant(found, "authorise", "1 threads")
    ours, (name, best) = alone.ours("ns"), alone.best("ns")
    locks, reads = alone.ours("locks", "most"), alone.ours("clock_reads", "most")
    text = f"{ours:.0f} ns, {ours / best:.2f} of it; {locks:.0f} locks, {reads:.0f} clock read"
    is_met = ours <= best * 2 / 3 and (locks, reads) == (0, 1)
    target = "at most two thirds of the cost of the fastest peer, 0 locks, 1 clock read"
    return Verdict("`BearerAuth` on a fresh token", target, text, f"{name} {best:.0f} ns", is_met)


def _threads(found: Found) -> Verdict:
    many = Variant(found, "authorise", "32 threads")
    ours, (name, best) = many.ours("rate"), many.best("rate", max)
    text = f"{ours / 1e3:.0f} a ms, {ours / best:.2f} times"
    target = "aggregate rate at least 1.5 times the best peer's"
    return Verdict("the same with 32 threads", target, text, f"{name} {best / 1e3:.0f} a ms", ours >= 1.5 * best)


def _get(found: Found) -> Verdict:
    loopback = Variant(found, "get", "loopback")
    ours, (name, best) = loopback.ours("over_percent"), loopback.best("over_percent")
    target = "no more over the bare auth than the best peer"
    return Verdict("GET over loopback", target, f"{ours:+.1f} %", f"{name} {best:+.1f} %", ours <= best)


def _boundary(found: Found) -> Verdict:
    renewal = Variant(found, "boundary", "renewal")
    sound = renewal.others("failed")
    name, best = renewal.best("p999_ms", ok=lambda name: sound[name] == 0)
    ours, expired, failed = (renewal.ours(one) for one in ("p999_ms", "expired_sent", "failed"))
    text = f"{ours:.1f} ms, {ours / best:.2f} times; {expired:.0f} expired tokens sent, {failed:.0f} failed"
    target = "99.9th percentile from schedule at most 1.25 times that of the best peer without failures; 0 expired sent"
    is_met = ours <= 1.25 * best and expired == 0 and failed == 0
    return Verdict("renewal boundary, 8 threads", target, text, f"{name} {best:.1f} ms", is_met)


def _herd(found: Found, what: str) -> Verdict:
    herd = Variant(found, "herd", what)
    fetches, wall, served = herd.ours("fetches", "most"), herd.ours("of_latency"), herd.others("good")
    name, fewest = herd.best("fetches", ok=lambda name: served[name] == 50)
    text = f"{fetches:.0f} fetch, {wall:.3f} of the latency (a plain POST {herd.ours('bare_of_latency'):.3f})"
    is_met = fetches == 1 and wall <= 1.05 and herd.ours("good", "least") == 50
    return Verdict(
        f"herd of 50, {what}",
        "1 fetch, wall time at most 1.05 of the source's latency",
        text,
        _wall(herd, name, fewest),
        is_met,
    )


def _wall(herd: Variant, name: str, fetches: float) -> str:
    return f"{name} {fetches:.0f}, {herd.of(name, 'of_latency'):.3f}"


def _down(found: Found) -> Verdict:
    herd = Variant(found, "herd", "down")
    fetches, answers = herd.ours("fetches", "most"), herd.ours("bad", "least")
    attempts = herd.ours("attempts", "most")
    name, fewest = herd.best("fetches")
    text = f"{attempts:.0f} attempt ({fetches:.0f} requests), {answers:.0f} answers"
    is_met = attempts == 1 and answers == 50
    peers = f"{name} {fewest:.0f} requests, {herd.of(name, 'bad'):.0f} answers"
    return Verdict("herd of 50, source down", "1 attempt, 50 answers", text, peers, is_met)


def _storm(found: Found) -> Verdict:
    storm = Variant(found, "storm", "revoked")
    renewals, failures, longest = (storm.ours(one, "most") for one in ("renewals", "failures", "longest_ms"))
    longest, failing = storm.ours("longest_ms"), storm.others("failures")
    name, best = storm.best("longest_ms", ok=lambda name: failing[name] == 0)
    text = f"{renewals:.0f} renewal, {failures:.0f} failures, {longest:.0f} ms, {longest / best:.2f} times"
    is_met = renewals == 1 and failures == 0 and longest <= 1.1 * best
    peers = f"{name} {storm.of(name, 'renewals'):.0f}, 0, {best:.0f} ms"
    target = "1 renewal, 0 failures, longest request at most 1.1 times the best peer's that fails none"
    return Verdict("401 storm of 32 threads", target, text, peers, is_met)


def _outage(found: Found) -> Verdict:
    outage = Variant(found, "outage", "5 s")
    errors, attempts, sent = (outage.ours(one, "most") for one in ("errors", "attempts", "requests"))
    name, best = outage.best("errors")
    text = f"{errors:.0f} errors, {attempts:.0f} attempts ({sent:.0f} requests)"
    peers = f"{name} {best:.0f}, {outage.of(name, 'requests'):.0f} requests"
    is_met = errors == 0 and attempts <= 6
    return Verdict("outage of 5 s in the due window", "0 errors, at most 6 attempts", text, peers, is_met)


def _late(found: Found) -> Verdict:
    late = Variant(found, "late", "0.5 s")
    ours, (name, best) = late.ours("failures", "most"), late.best("failures")
    target = "0 failures while the old token is good"
    return Verdict("resources 0.5 s late", target, f"{ours:.0f} failures", f"{name} {best:.0f}", ours == 0)


def _signals(found: Found) -> Verdict:
    signals = Variant(found, "signals", "every 50 ms")
    number, lost = signals.ours("signals", "sum"), signals.ours("lost", "sum")
    losing = signals.others("lost")
    text = f"{lost:.0f} grants lost in {number:.0f} signals"
    peers = f"{sum(value > 0 for value in losing.values())} of {len(losing)} lose it in 500"
    is_met = lost == 0 and number >= 2000
    return Verdict("a signal every 50 ms", "no hang, no lost grant in 2,000", text, peers, is_met)


def _processes(found: Found, over: str) -> Verdict:
    many, few = Variant(found, "processes", f"32, {over}"), Variant(found, "processes", "8, file")
    fetches, wall = many.ours("fetches", "most"), many.ours("of_latency")
    name, best = few.best("fetches")
    text = f"{fetches:.0f} fetch, {wall:.2f} of the latency"
    is_met = fetches == 1 and wall <= 1.5 and many.ours("failures", "most") == 0
    target = "1 fetch; from a barrier at most 1.5 of the source's latency"
    return Verdict(f"32 processes cold, {over}", target, text, f"with 8 processes: {name} {best:.0f}", is_met)


def _rotation(found: Found) -> Verdict:
    rotation = Variant(found, "rotation", "8 processes")
    reuses, lost, kills, turns = (rotation.ours(one, "sum") for one in ("reuses", "lost", "kills", "rotations"))
    ended = rotation.others("families_ended")
    first = max(rotation.others("rotations").values())
    text = f"{reuses:.0f} reuses in {turns:.0f} rotations and {kills:.0f} kills; {lost:.0f} lost by kills"
    peers = (
        f"{sum(value > 0 for value in ended.values())} of {len(ended)} families die, after {first:.0f} rotation at most"
    )
    target = "0 reuses but for kills between the answer and the stored entry"
    return Verdict("rotating refresh token, 8 processes", target, text, peers, reuses == 0)


def _managers(found: Found) -> Verdict:
    many, fewer = Variant(found, "managers", "10,000"), Variant(found, "managers", "1,000")
    idle, most, each, expired = (many.ours(one) for one in ("threads_idle", "threads_most", "kib_each", "expired"))
    late, lean = fewer.ours("late_ms_most"), Variant(found, "managers", "200").best("kib_each")
    text = f"{idle:.0f} thread idle, {most:.0f} under load, {each:.1f} KiB each, {expired:.0f} expired; "
    text += f"of 1,000 the last {late:.0f} ms late"
    is_met = idle == 1 and most <= 66 and each < 6 and expired == 0 and late <= 50
    target = (
        "1 thread idle, at most 66 under load, under 6 KiB each, all in time, to 50 ms while at most 50 are due at once"
    )
    return Verdict("10,000 managers", target, text, f"{lean[0]} {lean[1]:.1f} KiB with its source", is_met)


def _importing(found: Found) -> Verdict:
    beside = Variant(found, "importing", "beside requests")

    def more(what: str) -> dict[str, float]:
        names = [OURS, *beside.others(f"{what}_ms")]
        return {name: (beside.of(name, f"{what}_ms") / beside.of(name, "requests_ms") - 1) * 100 for name in names}

    package, program, memory = more("package"), more("program"), beside.ours("program_more_mib")
    alone, whole = package.pop(OURS), program.pop(OURS)
    text = f"{alone:+.1f} %, with the names of a program {whole:+.1f} %, {memory:.1f} MiB"
    peers = "; ".join(f"{min(one, key=one.__getitem__)} {min(one.values()):+.1f} %" for one in (package, program))
    is_met = alone <= 5 and whole <= 25 and memory < 2
    target = "at most 5 % more time, 25 % with the names of a typical program; under 2 MiB more memory"
    return Verdict("`import tokenkit` beyond `import requests`", target, text, peers, is_met)


TARGETS: list[tuple[str, Callable[[Found], Verdict]]] = [
    ("authorise", _fresh),
    ("authorise", _threads),
    ("get", _get),
    ("boundary", _boundary),
    ("herd", lambda found: _herd(found, "cold")),
    ("herd", lambda found: _herd(found, "expired")),
    ("herd", _down),
    ("storm", _storm),
    ("outage", _outage),
    ("late", _late),
    ("signals", _signals),
    ("processes", lambda found: _processes(found, "file")),
    ("processes", lambda found: _processes(found, "Redis")),
    ("rotation", _rotation),
    ("managers", _managers),
    ("importing", _importing),
]


def verdicts(found: Found) -> list[Verdict]:
    """Return what is to be said of each target whose scenario was run; a run in which tokenkit failed meets none."""
    told = []
    for scenario, judge in TARGETS:
        if scenario in found["results"]:
            try:
                told.append(judge(found))
            except (KeyError, ValueError) as error:
                told.append(Verdict(scenario, "", f"not measured ({type(error).__name__}: {error})", "", None))
    return told
