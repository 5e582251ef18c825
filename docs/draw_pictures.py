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
.wait { fill: #dfe7ee; }
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
    body, y = [], 78
    for x, name in zip(columns, people, strict=True):
        body += [box(x - 66, 12, 132, 30, "who"), text(x, 32, name, "middle")]
    said = []
    for sender, receiver, words in steps:
        here, there = columns[sender], columns[receiver]
        if sender == receiver:
            said += [box(here - 92, y - 17, 184, 24, "wait"), text(here, y, words, "small middle")]
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
            (2, 1, "waits for the lock"),
            (0, 1, "looks: nothing good"),
            (0, 3, "asks for a token"),
            (3, 0, "a token"),
            (0, 1, "stores it, frees the lock"),
            (1, 2, "has the lock"),
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


PICTURES = {"token_life.svg": token_life, "sharing.svg": sharing, "rejection.svg": rejection}


if __name__ == "__main__":
    for name, draw in PICTURES.items():
        (FOLDER / name).write_text(draw(), encoding="utf-8")
