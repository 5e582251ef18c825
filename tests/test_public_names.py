"""Public means listed in an ``__all__``; the lists are compared with reality."""

import ast
import importlib
from pathlib import Path

import pytest
from support import package_source

import tokenkit
import tokenkit.testing

MODULES = [module for module in package_source.modules() if module.is_public]
LEAVES = [module for module in MODULES if not module.is_package]
FACADES = [module for module in MODULES if module.is_package]
KIT = {"testing.plugin", "testing.settings", "testing.storage"}
TYPE_VARIABLES = {"TypeVar", "ParamSpec"}
DOCS = Path(__file__).resolve().parent.parent / "docs"


def identify(module: package_source.Module) -> str:
    return module.name or "tokenkit"


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


@pytest.mark.parametrize("module", LEAVES, ids=identify)
def test_a_module_lists_what_it_defines(module: package_source.Module) -> None:
    """``__all__`` of a module is what it publicly defines, once each."""
    assert module.exported is not None
    assert sorted(defined(module)) == sorted(module.exported)


@pytest.mark.parametrize("module", FACADES, ids=identify)
def test_a_package_gives_what_it_lists(module: package_source.Module) -> None:
    """Each name in the ``__all__`` of a package can be had from it, and is listed once."""
    package = importlib.import_module(f"tokenkit.{module.name}".rstrip("."))
    listed = module.exported or []
    assert [] == [name for name in listed if not hasattr(package, name)]
    assert len(set(listed)) == len(listed)


def test_the_root_passes_on_public_names_only() -> None:
    """A name of the root is the very name that its module lists."""
    owned = {name for module in LEAVES for name in module.exported or []}
    assert set() == set(tokenkit.__all__) - owned - {"__version__"}


def test_the_root_is_small() -> None:
    """The root has under 30 names."""
    assert 0 < len(tokenkit.__all__) < 30


def is_for_users(module: package_source.Module) -> bool:
    """Say whether users meet *module*; of the testing kit, what its root passes on, the plugin and the contract."""
    names = set(module.exported or [])
    if module.name.startswith("testing.") and module.name not in KIT:
        return bool(names & set(tokenkit.testing.__all__))
    return bool(names)


@pytest.mark.parametrize("module", LEAVES, ids=identify)
def test_the_reference_has_every_module(module: package_source.Module) -> None:
    """A module with public names has its entry in the reference."""
    pages = "\n".join(page.read_text(encoding="utf-8") for page in DOCS.rglob("*.rst"))
    documented = {line.strip() for line in pages.splitlines()}
    paths = {module.name, module.package}  # its own, or that of the package whose face passes its names on
    assert not is_for_users(module) or {f".. automodule:: tokenkit.{path}" for path in paths} & documented
