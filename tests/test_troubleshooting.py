"""Every warning of the package leads to its entry in the manual."""

import ast
import re
from pathlib import Path

import pytest

import tokenkit

PACKAGE = Path(tokenkit.__file__).parent
ENDS_WITH = re.compile(r"\[([a-z-]+)\]$")


def warnings() -> list[tuple[str, str]]:
    """Return where each call that warns is, and the text that it warns with."""
    found = []
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("logger.warning", "logger.error")):
                found.append((f"{path.stem}:{node.lineno}", str(ast.literal_eval(node.args[0]))))
    return found


@pytest.fixture
def entries(repository: Path) -> set[str]:
    page = (repository / "docs/howto/troubleshooting.rst").read_text(encoding="utf-8")
    return set(re.findall(r"^\.\. _([a-z-]+):\n\n``\[\1\]``$", page, re.MULTILINE))


def test_every_warning_ends_with_the_name_of_its_entry(entries: set[str]) -> None:
    """In brackets, so that one can search for it."""
    names = {where: ENDS_WITH.search(text) for where, text in warnings()}
    assert {} == {where: name for where, name in names.items() if name is None or name[1] not in entries}


def test_every_entry_is_a_warning_s(entries: set[str]) -> None:
    """No page explains what nothing says any more."""
    sources = "".join(path.read_text(encoding="utf-8") for path in PACKAGE.rglob("*.py"))
    assert set() == {name for name in entries if f"[{name}]" not in sources}
