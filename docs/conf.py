"""Build the manual: sphinx-build -W docs OUTPUT."""

import tokenkit

project = "tokenkit"
author = "The requests-tokenkit maintainers"
copyright = "The requests-tokenkit maintainers"  # noqa: A001  # the name that Sphinx reads
version = release = tokenkit.__version__

extensions = ["sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = f"tokenkit {release}"

autoclass_content = "class"
autodoc_member_order = "bysource"
autodoc_default_options = {"members": True, "show-inheritance": True}
autodoc_typehints = "signature"
napoleon_numpy_docstring = False
napoleon_custom_sections = [("Further args", "params_style")]
napoleon_use_rtype = False
