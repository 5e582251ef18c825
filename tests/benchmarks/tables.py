"""The figures of a run as text: the table of targets, and one of all figures, for a terminal and for the manual."""

from collections.abc import Iterator
from typing import Any

from benchmarks.peers import BY_NAME
from benchmarks.targets import Found, verdicts

TITLES = {
    "authorise": "Putting a token into a request",
    "get": "A GET over loopback",
    "herd": "A herd of 50 threads",
    "boundary": "The renewal boundary",
    "storm": "A storm of 401",
    "outage": "An outage in the due window",
    "late": "A resource that learns of a token late",
    "signals": "A signal every 50 ms",
    "processes": "Processes without a token",
    "rotation": "A refresh token that rotates",
    "importing": "Importing",
    "managers": "Many managers",
}
_WORDS = {True: "met", False: "missed", None: "not measured"}


def targets_table(found: Found) -> str:
    """Return the table of targets as plain lines."""
    lines = [
        f"{_WORDS[one.is_met]:7} {one.what}: {one.ours} | best peer: {one.peers} | {one.target}"
        for one in verdicts(found)
    ]
    return "\n".join(lines)


def texts(found: Found) -> str:
    """Return all figures as plain lines."""
    lines = []
    for scenario, variant, peers in _variants(found):
        lines.append(f"== {scenario}, {variant}")
        lines += [f"  {BY_NAME[name].label:22} {_told(figures)}" for name, figures in peers.items()]
    return "\n".join(lines)


def _variants(found: Found) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for scenario, variants in found["results"].items():
        for variant, peers in variants.items():
            yield scenario, variant, peers


def _told(figures: dict[str, Any]) -> str:
    if "unsupported" in figures:
        return "no adapter for it here"
    if "by_hand" in figures:
        return "the first token is fetched by hand, before any request"
    told = [f"{name} {spread(value)}" for name, value in figures.items() if isinstance(value, dict)]
    return ", ".join([*told, *figures.get("faults", [])])


def spread(value: dict[str, float]) -> str:
    """Return a median, and the least and the most where they differ."""
    middle, least, most = (f"{value[part]:g}" for part in ("median", "least", "most"))
    return middle if least == most else f"{middle} ({least} to {most})"


def written(text: str, found: Found) -> str:
    """Return the manual's page with the generated parts of these figures in place of those that *text* has."""
    for name, lines in (("targets", _targets_part(found)), ("figures", _figures_part(found))):
        before, _, rest = text.partition(f".. {name}: made by python -m benchmarks.draw\n\n")
        _, _, after = rest.partition(f".. end of {name}\n")
        content = "\n".join(lines).rstrip("\n")
        text = f"{before}.. {name}: made by python -m benchmarks.draw\n\n{content}\n\n.. end of {name}\n{after}"
    return text


def _targets_part(found: Found) -> list[str]:
    versions = ", ".join(f"{name} {number}" for name, number in found["versions"].items())
    minutes = f"{found['seconds'] / 60:.0f} minutes"
    return [
        f"Measured on {found['date']} in {minutes}: {found['machine']}, Python {found['python']}; {versions}.",
        "",
        *_rows("16 26 26 22 10", ["what", "target", "tokenkit", "best peer", ""], _target_rows(found)),
    ]


def _figures_part(found: Found) -> list[str]:
    lines = []
    for scenario, variant, peers in _variants(found):
        title = f"{TITLES[scenario]}: {variant}"
        rows = [[BY_NAME[name].label, _told(figures).replace("_", " ")] for name, figures in peers.items()]
        lines += [title, "~" * len(title), "", *_rows("20 80", ["library", "median (least to most)"], rows)]
    return lines


def _target_rows(found: Found) -> list[list[str]]:
    return [
        [one.what.replace("`", "``"), one.target, one.ours, one.peers, _WORDS[one.is_met]] for one in verdicts(found)
    ]


def _rows(widths: str, head: list[str], rows: list[list[str]]) -> list[str]:
    lines = [".. list-table::", "   :header-rows: 1", f"   :widths: {widths}", ""]
    for row in [head, *rows]:
        lines += [f"   {'  -' if number else '* -'} {cell}".rstrip() for number, cell in enumerate(row)]
    return [*lines, ""]
