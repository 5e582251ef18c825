"""Build the manual: sphinx-build -W docs OUTPUT."""

import os
import re
import sys
from typing import Any

import tokenkit

project = "tokenkit"
author = "The requests-tokenkit maintainers"
copyright = "The requests-tokenkit maintainers"  # noqa: A001  # the name that Sphinx reads
version = release = tokenkit.__version__

extensions = ["sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx_copybutton"]
if os.environ.get("READTHEDOCS"):  # elsewhere the manual is built without a network
    extensions.append("sphinx.ext.intersphinx")
    intersphinx_mapping = {
        "python": ("https://docs.python.org/3", None),
        "requests": ("https://requests.readthedocs.io/en/latest", None),
    }
copybutton_prompt_text = r">>> |\.\.\. |\$ "  # what is shown and not to be typed
copybutton_prompt_is_regexp = True
exclude_patterns = ["_build"]
# sphinx-build -b linkcheck: the project's own pages are there only once it is published.
linkcheck_ignore = [r"https://(requests-tokenkit\.readthedocs\.io|github\.com/requests-tokenkit)/"]
linkcheck_timeout = 10
html_theme = "furo"
html_title = f"tokenkit {release}"
html_static_path = ["_static"]
html_css_files = ["pages.css"]

autoclass_content = "class"
autodoc_member_order = "bysource"
autodoc_default_options = {"members": True, "show-inheritance": True}
autodoc_typehints = "signature"
napoleon_numpy_docstring = False
napoleon_custom_sections = [("Further args", "params_style")]
napoleon_use_rtype = False

# A link of a docstring that leads nowhere is an error. Types in signatures may be another project's or an internal
# alias, and a module's first lines may name a module that is not shown.
nitpicky = True
nitpick_ignore_regex = [
    (r"py:class", r"(?!tokenkit\.).*|tokenkit\.(.*\.)?_.*|tokenkit\.testing\.(addresses|_storage_locks)\..*"),
    (r"py:mod", r"tokenkit\.(fetchers|contrib|(.*\.)?_.*)"),
    (r"py:(exc|meth)", r"(requests|cryptography)\..*|close"),
]

_hidden: list[str] = []


def _hide(app: Any, what: str, name: str, obj: object, options: object, lines: list[str]) -> None:
    _hidden.clear()
    if what in ("attribute", "data", "property"):
        _hidden.extend(lines)
        lines.clear()


def _show(app: Any, what: str, name: str, obj: object, options: object, lines: list[str]) -> None:
    lines.extend(_hidden)
    _hidden.clear()


def _spell(app: Any, what: str, name: str, obj: Any, options: object, shown: str | None, returns: str | None) -> Any:
    """Show what a private alias stands for: a reader of a signature does not know its name."""
    homes = [vars(sys.modules[one.__module__]) for one in getattr(obj, "__mro__", ())]

    def meant(found: re.Match[str]) -> str:
        known = [home[found[0]] for home in homes if found[0] in home]
        return re.sub(r"[\w.]+\.(?=\w)", "", str(known[0])) if known else found[0]

    shown = shown and shown.replace("_CacheKey", "str | None")  # a descriptor
    for _ in range(3 if shown else 0):  # an alias may be made of others
        shown = re.sub(r"\b_[A-Z]\w+", meant, shown or "")
    return shown, returns


def _skip(app: Any, what: str, name: str, obj: object, skip: bool, options: object) -> bool:
    """Leave out what stands for an argument that is told above: a descriptor, whose type would be a private name."""
    return skip or (name == "cache_key" and obj is None)


def setup(app: Any) -> None:
    """Keep napoleon (priority 500) from taking what a property says before a colon for its type."""
    app.connect("autodoc-process-signature", _spell)
    app.connect("autodoc-skip-member", _skip)
    app.connect("autodoc-process-docstring", _hide, priority=400)
    app.connect("autodoc-process-docstring", _show, priority=600)
