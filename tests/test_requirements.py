"""What setup.py asks for, and its oldest releases, which CI also runs the tests with."""

import re
import runpy
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def requirements(monkeypatch: pytest.MonkeyPatch) -> list[Requirement]:
    """Every requirement that setup.py states, of the package and of its extras."""
    stated: dict[str, Any] = {}
    stand_in = SimpleNamespace(setup=lambda **arguments: stated.update(arguments), find_packages=lambda **_: [])
    monkeypatch.setitem(sys.modules, "setuptools", stand_in)
    runpy.run_path(str(ROOT / "setup.py"))
    lines = [stated["install_requires"], *stated["extras_require"].values()]
    return [Requirement(line) for group in lines for line in group]


def oldest() -> dict[str, Version]:
    """What tests/oldest.txt pins, by canonical name."""
    lines = (ROOT / "tests" / "oldest.txt").read_text(encoding="utf-8").splitlines()
    pins = [line.split("==") for line in lines if not line.startswith("#")]
    return {canonicalize_name(name): Version(version) for name, version in pins}


def minimums(requirement: Requirement) -> list[Version]:
    return [Version(part.version) for part in requirement.specifier if part.operator == ">="]


def test_each_requirement_states_one_oldest_release(requirements: list[Requirement]) -> None:
    """Nothing is asked for in any release; otherwise nobody could say what it was tried with."""
    assert [] == [str(requirement) for requirement in requirements if len(minimums(requirement)) != 1]


def test_the_oldest_releases_are_those_of_setup_py(requirements: list[Requirement]) -> None:
    """tests/oldest.txt pins each requirement to the oldest release that setup.py allows, and nothing else."""
    stated = {(canonicalize_name(requirement.name), *minimums(requirement)) for requirement in requirements}
    assert stated == set(oldest().items())


def test_every_python_is_named_everywhere(repository: Path) -> None:
    """setup.py, tox and CI speak of the same releases of Python."""
    classifiers = re.findall(r'Python :: (3\.\d+)"', (repository / "setup.py").read_text(encoding="utf-8"))
    tested = re.search(r"^envlist = (.*)$", (repository / "tox.ini").read_text(encoding="utf-8"), re.MULTILINE)
    assert tested
    assert classifiers == [f"3.{minor}" for minor in re.findall(r"py3(\d+)", tested[1])]
