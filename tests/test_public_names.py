"""Public means listed in the ``__all__`` of a public import path; the lists are compared with reality."""

import ast
import importlib
import pickle
from pathlib import Path
from types import ModuleType

from support import package_source

import tokenkit

# What users may import from, all of it: the contract.
PATHS = {
    "",
    *("auth", "clock", "config", "contracts", "errors", "events", "fetchers", "fetchers.oauth2", "manager", "options"),
    *("pipeline", "policy", "secrets", "storage", "tokens"),
    *("contrib.logging", "contrib.opentelemetry", "contrib.prometheus"),
    "testing",
}
# Besides: the suite for storages of users' own, which needs pytest, and what pytest loads by itself.
KIT = {"testing.plugin", "testing.settings", "testing.storage"}
TYPE_VARIABLES = {"TypeVar", "ParamSpec"}
DOCS = Path(__file__).resolve().parent.parent / "docs"

MODULES = {module.name: module for module in package_source.modules()}
PUBLIC = [MODULES[name] for name in sorted(PATHS)]
FACES = [module for module in MODULES.values() if module.has_stub]


def imported(module: package_source.Module) -> ModuleType:
    return importlib.import_module(f"tokenkit.{module.name}".rstrip("."))


def defined(module: package_source.Module) -> set[str]:
    """Return the public names that *module* defines at its top; its logger is had by name."""
    names: set[str] = set()
    for node in module.tree.body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            names.add(node.name)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            if isinstance(node.value, ast.Call) and ast.unparse(node.value.func) in TYPE_VARIABLES:
                continue
            names |= {target.id for target in targets if isinstance(target, ast.Name)}
    return {name for name in names if not name.startswith("_")} - {"logger"}


def test_the_public_paths_are_there() -> None:
    """Each public import path is a module of the package."""
    assert set() == PATHS - set(MODULES)


def test_a_module_lists_what_it_defines() -> None:
    """``__all__`` of a module that is no face, and is not private, is what it publicly defines, once each."""
    wrong = {
        module.name: defined(module).symmetric_difference(module.exported or [])
        for module in MODULES.values()
        if module.is_public and not module.is_package and sorted(defined(module)) != sorted(module.exported or [])
    }
    assert {} == wrong


def test_a_public_path_gives_what_it_lists() -> None:
    """Each name in the ``__all__`` of a public path can be had from it, and is listed once."""
    missing = [(one.name, name) for one in PUBLIC for name in one.exported or [] if not hasattr(imported(one), name)]
    assert [] == missing
    assert [] == [one.name for one in PUBLIC if len(set(one.exported or [])) < len(one.exported or [])]


def test_a_stub_tells_what_its_face_gives() -> None:
    """Type checkers see the names that the table of a face has, and no others."""
    differing = [face.name for face in FACES if sorted(face.exported or []) != sorted(imported(face).__all__)]
    assert [] == differing


def test_a_stub_takes_each_name_from_its_module() -> None:
    """What a type checker finds there is the very object that the face gives."""
    wrong = []
    for face in FACES:
        for node in ast.parse(face.path.with_suffix(".pyi").read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ImportFrom):
                origin, given = importlib.import_module(node.module or ""), imported(face)
                wrong += [a.name for a in node.names if getattr(origin, a.name) is not getattr(given, a.name)]
    assert [] == wrong


def test_the_root_passes_on_public_names_only() -> None:
    """A name of the root is the very name that a public path lists."""
    owned = {id(getattr(imported(one), name)) for one in PUBLIC if one.name for name in one.exported or []}
    assert [] == [name for name in tokenkit.__all__ if id(getattr(tokenkit, name)) not in owned]


def test_the_root_is_small() -> None:
    """The root has under 30 names."""
    assert 0 < len(tokenkit.__all__) < 30


def test_a_class_is_pickled_by_a_name_that_lasts() -> None:
    """A pickled class or function comes back as what its public path gives, which is in the package of that path."""
    wrong = []
    for module in PUBLIC:
        for name in module.exported or []:
            value = getattr(imported(module), name)
            if isinstance(value, type) and not (
                pickle.loads(pickle.dumps(value)) is value
                and f"{value.__module__}.".startswith(f"tokenkit.{module.name}.".replace("..", "."))
            ):
                wrong.append((module.name, name, value.__module__))
    assert [] == wrong


def test_the_reference_has_every_public_path() -> None:
    """A path with public names has its entry in the reference, or each of its modules has."""
    pages = "\n".join(page.read_text(encoding="utf-8") for page in DOCS.rglob("*.rst"))
    shown = {line.strip().removeprefix(".. automodule:: tokenkit.") for line in pages.splitlines()}
    missing = []
    for module in PUBLIC:
        face = imported(module)
        homes = {getattr(getattr(face, name), "__module__", face.__name__) for name in module.exported or []}
        inside = {home.removeprefix("tokenkit.") for home in homes}
        if module.name and module.name not in shown and not inside <= shown:
            missing.append(module.name)
    assert [] == missing
    assert set() == KIT - shown - {"testing.settings"}
