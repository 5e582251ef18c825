"""Draw the rooms of the package, floor upon floor, with what each stands on: docs/explanation/architecture.svg.

Rooms and arrows come from the parsed imports, by the same code as the test of the architecture. Run it after a change
of who imports whom: ``python docs/draw_architecture.py``.
"""

import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

HERE = Path(__file__).resolve().parent
DRAWING = HERE / "explanation" / "architecture.svg"
sys.path.insert(0, str(HERE.parent / "tests"))

import test_architecture  # noqa: E402  # found by the line above

FLOORS = [
    "values and rules: every room stands on these",
    "for every edge",
    "edges",
    "asking and sharing",
    "composition",
    "requests",
    "faces",
]
WIDTH, MARGIN = 640, 14  # narrow, so that a phone can show it without making the words too small
BOX, GAP, ROW, LABEL = 34, 10, 4, 22  # height of a box, between boxes, boxes in a row, height of a floor's name
SPACE = 34  # between floors, for the arrows
STYLE = """
text { font-family: system-ui, sans-serif; fill: #1b2a3a; }
.room { fill: #ffffff; stroke: #44617b; } .private { stroke-dasharray: 4 3; }
.name { font-size: 15px; text-anchor: middle; } .floor { font-size: 13px; fill: #55708a; }
.band { fill: #edf2f6; } .arrow { fill: none; stroke: #44617b; stroke-opacity: 0.55; }
"""

Graph = Mapping[str, frozenset[str]]
Box = tuple[float, float, float]  # left, top, width
Band = tuple[float, float, str]  # top, height, name


def rooms() -> list[list[str]]:
    """Return the rooms of each floor, lowest first, without the root's own face."""
    there = {module.room for module in test_architecture.MODULES}
    return [sorted(floor & there, key=lambda room: room.strip("_")) for floor in test_architecture.FLOORS[:-1]]


def stands_on() -> Graph:
    """Return for each room those that it imports from."""
    known = {room for floor in rooms() for room in floor}
    found: dict[str, set[str]] = {room: set() for room in known}
    for module, name in test_architecture.imports():
        below = name.split(".")[0]
        if {module.room, below} <= known and module.room != below:
            found[module.room].add(below)
    return {room: frozenset(below) for room, below in found.items()}


def reachable(graph: Graph, start: str) -> set[str]:
    """Return all that *start* stands on, directly or not."""
    found: set[str] = set()
    todo = [*graph[start]]
    while todo:
        room = todo.pop()
        if room not in found:
            found.add(room)
            todo += graph[room]
    return found


def needed(graph: Graph) -> list[tuple[str, str]]:
    """Return the arrows that do not follow from others, without those to the lowest floor, where all lead."""
    arrows = []
    lowest = set(rooms()[0])
    for room, below in sorted(graph.items()):
        if room in lowest:
            continue
        indirect = set().union(*(reachable(graph, one) for one in below))
        arrows += [(room, one) for one in sorted(below - indirect - lowest)]
    return arrows


def rows(floor: list[str]) -> list[list[str]]:
    count = -(-len(floor) // ROW)
    size = -(-len(floor) // count)
    return [floor[start : start + size] for start in range(0, len(floor), size)]


def place(
    floors: list[list[str]],
) -> tuple[dict[str, tuple[float, float, float]], list[tuple[float, float, str]], float]:
    """Return each room's (left, top, width), each floor's (top, height, name), and the height of it all."""
    boxes, bands, y = {}, [], float(MARGIN)
    for number in reversed(range(len(floors))):
        lines = rows(floors[number])
        height = LABEL + len(lines) * (BOX + GAP)
        bands.append((y, height, f"{number + 1}  {FLOORS[number]}"))
        for at, line in enumerate(lines):
            width = (WIDTH - 2 * MARGIN - GAP) / ROW - GAP
            for column, room in enumerate(line):
                middle = MARGIN + (WIDTH - 2 * MARGIN) * (column + 0.5) / len(line)
                boxes[room] = (middle - width / 2, y + LABEL + at * (BOX + GAP), width)
        y += height + SPACE
    return boxes, bands, y - SPACE + MARGIN


def arrow(start: Box, end: Box) -> str:
    if start[1] == end[1]:  # on one floor: from side to side
        leftwards = start[0] > end[0]
        x1, x2 = (start[0], end[0] + end[2]) if leftwards else (start[0] + start[2], end[0])
        y = start[1] + BOX / 2
        return f"M{x1:.0f} {y:.0f} L{x2:.0f} {y:.0f}"
    x1, y1, x2, y2 = start[0] + start[2] / 2, start[1] + BOX, end[0] + end[2] / 2, end[1]
    x2 += max(-50, min(50, (x1 - x2) / 5))  # on the side that it comes from
    middle = (y1 + y2) / 2
    return f"M{x1:.0f} {y1:.0f} C{x1:.0f} {middle:.0f} {x2:.0f} {middle:.0f} {x2:.0f} {y2 - 2:.0f}"


def lines() -> Iterable[str]:
    graph = stands_on()
    boxes, bands, height = place(rooms())
    yield f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:.0f}" width="{WIDTH}">'
    yield "<title>The rooms of tokenkit, floor upon floor, and what each stands on</title>"
    yield f"<style>{STYLE}</style>"
    yield '<defs><marker id="tip" markerWidth="8" markerHeight="8" refX="6" refY="3" orient="auto">'
    yield '<path d="M0 0 L7 3 L0 6 z" fill="#44617b"/></marker></defs>'
    yield f'<rect width="{WIDTH}" height="{height:.0f}" fill="#ffffff"/>'
    for top, tall, name in bands:
        yield f'<rect class="band" x="4" y="{top:.0f}" width="{WIDTH - 8}" height="{tall}" rx="6"/>'
        yield f'<text class="floor" x="{MARGIN}" y="{top + 16:.0f}">{name}</text>'
    for room, below in needed(graph):
        yield f'<path class="arrow" marker-end="url(#tip)" d="{arrow(boxes[room], boxes[below])}"/>'
    for room, (x, y, width) in boxes.items():
        private = " private" if room.startswith("_") else ""
        yield f'<rect class="room{private}" x="{x:.0f}" y="{y:.0f}" width="{width:.0f}" height="{BOX}" rx="5"/>'
        yield f'<text class="name" x="{x + width / 2:.0f}" y="{y + 22:.0f}">{room}</text>'
    yield "</svg>"


def drawing() -> str:
    """Return the SVG."""
    return "\n".join(lines()) + "\n"


if __name__ == "__main__":
    DRAWING.write_text(drawing(), encoding="utf-8")
