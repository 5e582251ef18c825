"""What the docstrings of public classes promise: an example that runs, and defaults in figures."""

import ast
import doctest
import importlib
import inspect
from collections.abc import Iterator

import pytest
from support import needs, package_source
from test_public_names import PUBLIC

import tokenkit

EXTRAS = {
    "contrib.opentelemetry": "opentelemetry",
    "contrib.prometheus": "prometheus_client",
    "storage.encrypted": "cryptography",
}
# Made by the package and given to users, or a contract that they fulfil.
GIVEN = {
    *("Announcer", "Configuration", "EntryReader", "FetchContext", "ManagerStatus", "OAuth2Client", "Origin"),
    *("SignInPrompt", "SignsIn", "TokenEvent", "TokenListener", "TokenPipeline", "TokenReceiver", "TransportOptions"),
    "Window",
}


def constructed() -> Iterator[type]:
    """Yield each class that users make objects of."""
    seen = set(GIVEN)
    for module in PUBLIC:
        if module.name in EXTRAS:
            needs.module(EXTRAS[module.name])
        face = importlib.import_module(f"tokenkit.{module.name}".rstrip("."))
        for name in module.exported or []:
            value = getattr(face, name)
            made = isinstance(value, type) and not inspect.isabstract(value) and not issubclass(value, BaseException)
            if made and name not in seen:
                seen.add(name)
                yield value


def shown() -> list[doctest.DocTest]:
    """Return the examples of all docstrings, private ones too."""
    found = []
    for module in package_source.modules():
        for node in ast.walk(module.tree) if ">>> " in module.text else ():
            if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.Module):
                text = ast.get_docstring(node) or ""
                name = f"{module.name}.{getattr(node, 'name', '')}"
                if ">>> " in text:
                    found.append(doctest.DocTestParser().get_doctest(text, {}, name, str(module.path), 0))
    return found


def test_an_example_fits_the_reference() -> None:
    """No line of it is longer than the 86 columns that a page has beside the name of a class."""
    lines = [(example.name, line) for example in shown() for line in (example.docstring or "").splitlines()]
    assert [] == [one for one in lines if one[1].lstrip().startswith((">>> ", "... ")) and len(one[1].lstrip()) > 86]


@pytest.mark.parametrize("example", shown(), ids=lambda example: example.name)
def test_an_example_of_a_docstring_runs(example: doctest.DocTest, capsys: pytest.CaptureFixture[str]) -> None:
    """It shows what it says, with the names of its module at hand."""
    module = example.name.rpartition(".")[0]
    if module in EXTRAS:
        needs.module(EXTRAS[module])
    example.globs.update(vars(importlib.import_module(f"tokenkit.{module}".rstrip("."))))
    failures, _tried = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(example)
    assert 0 == failures, capsys.readouterr().out


def test_an_example_of_a_docstring_fits_a_page() -> None:
    """It is at most 84 columns, and the prompt."""
    lines = [line for test in shown() for one in test.examples for line in (one.source + one.want).splitlines()]
    assert [] == [line for line in lines if len(line) > 84]


def test_a_class_that_users_construct_has_an_example() -> None:
    """A reader of the reference sees how it is made and what it does."""
    missing = {one.__name__ for one in constructed() if ">>> " not in (one.__doc__ or "")}
    assert set() == missing


def test_defaults_are_told_in_figures() -> None:
    """A reader sees what a number is that is not given, without looking at the signature."""
    untold = []
    for one in constructed():
        for parameter in inspect.signature(one).parameters.values():
            default = parameter.default
            if isinstance(default, (int, float)) and not isinstance(default, bool) and default != 0:
                untold += [] if f"{default:g}" in (one.__doc__ or "") else [(one.__name__, parameter.name)]
    assert [] == untold


def test_the_root_tells_where_to_begin() -> None:
    """Its docstring says what it is for."""
    assert "requests" in (tokenkit.__doc__ or "")
