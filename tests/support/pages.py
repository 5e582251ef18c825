"""Code blocks of a page, and a way to run them: ``python pages.py PAGE`` in a fresh interpreter.

The blocks of one page share a namespace, in the order in which they are read.
"""

import doctest
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent

_FENCE = re.compile(r"^```(?P<language>\S*)\n(?P<body>.*?)^```$", re.MULTILINE | re.DOTALL)
_DIRECTIVE = re.compile(
    r"^(?P<indent> *)\.\. (?:code-block|code|sourcecode)::(?P<language>.*)\n"
    r"(?:(?P=indent) +:.*\n)*\s*?\n"
    r"(?P<body>(?:(?P=indent) +.*\n|[ \t]*\n)*)",
    re.MULTILINE,
)


@dataclass(frozen=True)
class Block:
    """One block of code on a page; *line* is where its code starts."""

    language: str
    code: str
    line: int


def blocks(page: Path) -> list[Block]:
    """Return the code blocks of a Markdown or reStructuredText page."""
    text = page.read_text(encoding="utf-8")
    pattern = _FENCE if page.suffix == ".md" else _DIRECTIVE
    return [
        Block(
            found["language"].strip(),
            dedent(found["body"]).strip("\n") + "\n",
            text.count("\n", 0, found.start("body")) + 1,
        )
        for found in pattern.finditer(text)
    ]


def included(page: Path) -> list[Path]:
    """Return the files that *page* includes literally."""
    names = re.findall(r"^ *\.\. literalinclude:: (\S+)$", page.read_text("utf-8"), re.MULTILINE)
    return [(page.parent / name).resolve() for name in names]


def run(page: Path) -> int:
    """Run the Python blocks of *page*; return the number of failed doctests."""
    namespace: dict[str, object] = {"__name__": "__main__"}
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
    for block in blocks(page):
        if block.language == "python" and ">>> " in block.code:
            test = doctest.DocTestParser().get_doctest(block.code, namespace, page.name, str(page), block.line)
            runner.run(test, clear_globs=False)
            namespace = test.globs
        elif block.language == "python":
            padded = "\n" * (block.line - 1) + block.code
            exec(compile(padded, str(page), "exec"), namespace)
    return runner.failures


if __name__ == "__main__":
    sys.exit(run(Path(sys.argv[1])))
