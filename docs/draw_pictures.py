"""Draw the pictures of the manual: ``python docs/draw_pictures.py`` writes them into docs/explanation.

Each is a sequence: who does what, from top to bottom, or a line of time. They are 640 wide, so that a phone can show
them; a test compares the files with what is drawn here.
"""

from collections.abc import Sequence
from html import escape
from pathlib import Path

FOLDER = Path(__file__).resolve().parent / "explanation"
WIDTH = 640
STYLE = """
text { font-family: system-ui, sans-serif; font-size: 14px; fill: #1b2a3a; }
.small { font-size: 12px; fill: #44617b; } .middle { text-anchor: middle; }
.who { fill: #ffffff; stroke: #44617b; } .life { stroke: #9fb2c4; stroke-dasharray: 3 4; }
.say { stroke: #44617b; } .head { fill: #44617b; }
.fresh { fill: #cfe8d5; } .due { fill: #f6e3b4; } .expired { fill: #f3c9c4; }
.wait { fill: #dfe7ee; } .way { fill: none; stroke: #44617b; }
"""
Step = tuple[int, int, str]
"""From whom, to whom (the same: a note), and what is said."""


def page(height: int, title: str, body: Sequence[str]) -> str:
    """Return an SVG of that height."""
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img">',
            f"<title>{escape(title)}</title>",
            f"<style>{STYLE}</style>",
            f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
            *body,
            "</svg>",
            "",
        ]
    )


def text(x: float, y: float, words: str, kind: str = "") -> str:
    return f'<text x="{x:g}" y="{y:g}" class="{kind}">{escape(words)}</text>'


def line(x1: float, y1: float, x2: float, y2: float, kind: str) -> str:
    return f'<line x1="{x1:g}" y1="{y1:g}" x2="{x2:g}" y2="{y2:g}" class="{kind}"/>'


def box(x: float, y: float, width: float, height: float, kind: str) -> str:
    return f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="4" class="{kind}"/>'


def head(x: float, y: float, direction: int) -> str:
    back = x - 8 * direction
    return f'<path d="M{x:g},{y:g} L{back:g},{y - 4:g} L{back:g},{y + 4:g} Z" class="head"/>'


def sequence(title: str, people: Sequence[str], steps: Sequence[Step]) -> str:
    """Draw who says what to whom, from top to bottom."""
    columns = [WIDTH * (2 * number + 1) / (2 * len(people)) for number in range(len(people))]
    narrow = len(people) > 4
    half, note = (60, 62) if narrow else (66, 92)
    body, y = [], 78
    for x, name in zip(columns, people, strict=True):
        body += [box(x - half, 12, 2 * half, 30, "who"), text(x, 32, name, "middle")]
    said = []
    for sender, receiver, words in steps:
        here, there = columns[sender], columns[receiver]
        if sender == receiver:
            said += [box(here - note, y - 17, 2 * note, 24, "wait"), text(here, y, words, "small middle")]
        else:
            direction = 1 if there > here else -1
            said += [line(here, y, there, y, "say"), head(there, y, direction)]
            said += [text((here + there) / 2, y - 6, words, "small middle")]
        y += 34
    lives = [line(x, 42, x, y - 12, "life") for x in columns]
    return page(y, title, [*lives, *body, *said])


def token_life() -> str:
    """Draw one token of an hour on a line of time, with what requests and the refresh thread do."""
    left, right, top = 20, 620, 60
    span = right - left
    due, margin = left + span * 0.75, left + span * 0.95
    parts = [
        box(left, top, due - left, 34, "fresh"),
        box(due, top, margin - due, 34, "due"),
        box(margin, top, right - margin, 34, "expired"),
        text((left + due) / 2, top + 22, "fresh: requests take it", "middle"),
        text((due + margin) / 2, top + 22, "due", "middle"),
        text(right - 44, top - 10, "expired", "small"),
        text(left, top + 54, "0 min", "small"),
        text(due, top + 54, "42 to 48 min", "small middle"),
        text(right - 40, top + 54, "60 min", "small"),
        text(left, top - 22, "a token of an hour"),
        line(due, top + 62, due, top + 92, "say"),
        head_down(due, top + 96),
        text(due - 10, top + 114, "the refresh thread fetches the next one;", "small middle"),
        text(due - 10, top + 130, "requests go on with this one", "small middle"),
        line(margin, top + 62, margin, top + 150, "life"),
        text(margin - 8, top + 166, "only now would", "small middle"),
        text(margin - 8, top + 182, "a request wait", "small middle"),
        box(left, top + 76, 190, 24, "fresh"),
        text(left + 95, top + 93, "an outage goes unnoticed", "small middle"),
        text(left, top + 120, "as long as it is shorter than the", "small"),
        text(left, top + 136, "12 to 18 minutes that are left", "small"),
    ]
    return page(top + 196, "The life of a token", parts)


def head_down(x: float, y: float) -> str:
    return f'<path d="M{x:g},{y:g} L{x - 4:g},{y - 8:g} L{x + 4:g},{y - 8:g} Z" class="head"/>'


def sharing() -> str:
    return sequence(
        "Two processes share one token",
        ["process A", "storage", "process B", "identity provider"],
        [
            (0, 1, "takes the lock"),
            (2, 1, "waits for the lock, looks"),
            (0, 1, "looks: nothing good"),
            (0, 3, "asks for a token"),
            (3, 0, "a token"),
            (0, 1, "stores it"),
            (2, 1, "looks: a good token"),
            (2, 2, "adopts it: no fetch"),
        ],
    )


def rejection() -> str:
    return sequence(
        "A token is revoked under load",
        ["thread 1", "thread 2", "manager", "API"],
        [
            (0, 3, "request with token 1"),
            (1, 3, "request with token 1"),
            (3, 0, "401"),
            (0, 2, "token 1 was rejected"),
            (2, 2, "one renewal begins"),
            (3, 1, "401"),
            (1, 2, "token 1 was rejected"),
            (2, 2, "joins the renewal"),
            (2, 0, "token 2"),
            (2, 1, "token 2"),
            (0, 3, "the request again"),
            (1, 3, "the request again"),
            (3, 0, "200"),
            (3, 1, "200"),
        ],
    )


def way(*points: tuple[float, float]) -> str:
    """Draw a bent line; its end has a head of its own."""
    return '<path d="M' + " L".join(f"{x:g},{y:g}" for x, y in points) + '" class="way"/>'


def states() -> str:
    """Draw the states of a manager's token, and what leads from one to the next."""
    top, tall, width = 96, 50, 104
    middle, bottom = top + tall / 2, top + tall
    lefts = {"absent": 12, "fresh": 186, "due": 360, "expired": 524}
    kinds = {"absent": "wait", "fresh": "fresh", "due": "due", "expired": "expired"}
    gives = {"absent": "callers wait", "fresh": "given at once", "due": "given at once", "expired": "callers wait"}
    at = {name: left + width / 2 for name, left in lefts.items()}
    parts = []
    for name, left in lefts.items():
        parts += [box(left, top, width, tall, kinds[name]), text(at[name], top + 21, name, "middle")]
        parts += [text(at[name], top + 39, gives[name], "small middle")]
    names = list(lefts)
    said = [("attempt", "lands"), ("0.7 to 0.8", "of its life"), ("10 s are", "left")]
    for before, after, (over, under) in zip(names, names[1:], said, strict=False):
        left, right = lefts[before] + width, lefts[after]
        parts += [line(left, middle, right, middle, "say"), head(right, middle, 1)]
        parts += [text((left + right) / 2, middle - 8, over, "small middle")]
        parts += [text((left + right) / 2, middle + 18, under, "small middle")]
    for name in names[1:]:
        parts += [way((at[name], top), (at[name], 46), (at["absent"], 46), (at["absent"], top - 6))]
    parts += [
        head_down(at["absent"], top),
        text(330, 36, "a resource rejected it, or it was invalidated", "small middle"),
    ]
    for name, depth, into, words in (
        ("due", 44, 20, "the next attempt lands:"),
        ("expired", 98, -20, "the next attempt lands:"),
    ):
        end = at["fresh"] + into
        parts += [way((at[name], bottom), (at[name], bottom + depth), (end, bottom + depth), (end, bottom + 6))]
        parts += [head_up(end, bottom), text((end + at[name]) / 2, bottom + depth - 8, words, "small middle")]
        who = "nobody has waited" if name == "due" else "who waits gets the new token"
        parts += [text((end + at[name]) / 2, bottom + depth + 16, who, "small middle")]
    return page(bottom + 128, "The states of a manager", parts)


def head_up(x: float, y: float) -> str:
    return f'<path d="M{x:g},{y:g} L{x - 4:g},{y + 8:g} L{x + 4:g},{y + 8:g} Z" class="head"/>'


def renewal() -> str:
    return sequence(
        "One renewal",
        ["caller", "manager", "refresh thread", "worker", "source"],
        [
            (2, 1, "what is to be done?"),
            (1, 2, "due: an attempt"),
            (2, 3, "run it"),
            (3, 4, "fetch_token()"),
            (0, 1, "get_token()"),
            (1, 0, "due, but good: that"),
            (1, 1, "the token expires"),
            (0, 1, "get_token()"),
            (0, 0, "naps on a mailbox"),
            (4, 3, "the next token"),
            (3, 3, "stores it"),
            (3, 1, "lands it"),
            (1, 0, "fills the mailbox"),
            (0, 1, "looks again"),
            (1, 0, "the next token"),
            (1, 2, "ask in 45 min"),
            (3, 3, "waits for 10 s"),
        ],
    )


PICTURES = {
    "token_life.svg": token_life,
    "sharing.svg": sharing,
    "rejection.svg": rejection,
    "states.svg": states,
    "renewal.svg": renewal,
}


if __name__ == "__main__":
    for name, draw in PICTURES.items():
        (FOLDER / name).write_text(draw(), encoding="utf-8")
