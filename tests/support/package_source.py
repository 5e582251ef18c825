"""The package as text: its modules, parsed and never imported."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

import tokenkit

ROOT = Path(tokenkit.__file__).resolve().parent


@dataclass(frozen=True)
class Module:
    """One file of the package; *name* is relative to the root: '' is the root, 'storage.file'."""

    name: str
    path: Path

    @property
    def is_package(self) -> bool:
        return self.path.name == "__init__.py"

    @property
    def is_public(self) -> bool:
        return not any(part.startswith("_") for part in self.name.split("."))

    @property
    def has_stub(self) -> bool:
        """Whether it is a face that loads its names on first use, of which its stub tells."""
        return self.is_package and self.path.with_suffix(".pyi").exists()

    @property
    def package(self) -> str:
        """The package that the module belongs to, itself where it is one: 'storage' of 'storage.file'."""
        return self.name if self.is_package else self.name.rpartition(".")[0]

    @property
    def room(self) -> str:
        """The part of the root that the module lies in: 'fetchers' of 'fetchers.oauth2.grants'."""
        return self.name.split(".")[0]

    @cached_property
    def text(self) -> str:
        return self.path.read_text(encoding="utf-8")

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.text)

    @property
    def lines(self) -> int:
        return len(self.text.splitlines())

    @property
    def exported(self) -> list[str] | None:
        """The literal list ``__all__``, of a face that of its stub, or None."""
        for node in self._with_stub().body:
            targets = node.targets if isinstance(node, ast.Assign) else []
            if any(isinstance(target, ast.Name) and target.id == "__all__" for target in targets):
                return list(ast.literal_eval(node.value))
        return None

    def imports(self) -> Iterator[tuple[str, ast.stmt]]:
        """Yield each absolute dotted name that is imported, with its statement; those of a stub are the face's own."""
        for node in ast.walk(self._with_stub()):
            if isinstance(node, ast.Import):
                yield from ((alias.name, node) for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                origin = self._origin(node)
                yield from ((f"{origin}.{alias.name}", node) for alias in node.names)

    def imported_modules(self, known: set[str]) -> set[str]:
        """Return the modules of the package that are imported, each as the longest name that is *known*."""
        found = set()
        for dotted, _ in self.imports():
            top, *parts = dotted.split(".")
            if top == "tokenkit":
                tries = (".".join(parts[:length]) for length in range(len(parts), -1, -1))
                found.add(next(name for name in tries if name in known))
        return found - {self.name}

    def functions(self) -> list[ast.FunctionDef]:
        return [node for node in ast.walk(self.tree) if isinstance(node, ast.FunctionDef)]

    def _with_stub(self) -> ast.Module:
        stub = self.path.with_suffix(".pyi")
        text = stub.read_text(encoding="utf-8") if self.has_stub else ""
        return ast.Module([*self.tree.body, *ast.parse(text).body], [])

    def _origin(self, node: ast.ImportFrom) -> str:
        if not node.level:
            return node.module or ""
        here = ["tokenkit", *filter(None, self.name.split("."))]
        package = here[: len(here) - node.level + self.is_package]
        return ".".join([*package, *filter(None, [node.module])])


def _name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@cache
def modules() -> list[Module]:
    """Return every module of the package, sorted by name; each is read and parsed once, when its text is asked for."""
    return [Module(_name(path), path) for path in sorted(ROOT.rglob("*.py"))]
