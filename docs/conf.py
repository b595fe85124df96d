"""The documentation site: `make docs` builds docs/_build/html, warnings are errors."""

import os
import re
import sys
from pathlib import Path

DOCS = Path(__file__).resolve().parent
sys.path.insert(0, str(DOCS))

import package_imports  # noqa: E402
import reference  # noqa: E402

import deepfusion  # noqa: E402

project = "Deep Fusion"
author = "The Deep Fusion authors"
version = release = deepfusion.__version__

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.mathjax", "sphinx.ext.napoleon", "sphinx.ext.viewcode"]
exclude_patterns = ["_build"]
myst_enable_extensions = ["dollarmath", "colon_fence"]
myst_heading_anchors = 3
html_theme = "furo"
html_title = f"Deep Fusion {version}"

autodoc_member_order = "bysource"
autodoc_typehints = "none"  # signatures have them already
autodoc_default_options = {"members": True}
# Names inside docstrings are written for a reader of the source, not as cross-references.
default_role = "code"
napoleon_use_ivar = True

# The notebooks run when the site is built, on clips that they generate.
nb_execution_mode = os.environ.get("DEEPFUSION_NOTEBOOKS", "force")
nb_execution_raise_on_error = True
nb_execution_timeout = 1800  # s per cell, on a busy machine
nb_execution_in_temp = False  # they find the clone from their own folder
nb_merge_streams = True
suppress_warnings = ["myst-nb.lexer"]  # without execution no kernel names the language


def _generate(app) -> None:
    """Write the pages that are made from the program."""
    folder = DOCS / "generated"
    folder.mkdir(exist_ok=True)
    pages = {
        "configuration": reference.configuration(),
        "command-line": reference.command_line(),
        "imports": package_imports.table(package_imports.imported()) + "\n",
    }
    for name, text in pages.items():
        path = folder / f"{name}.md"
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")


def _links(app, name: str, content: list[str]) -> None:
    """Links from the repository's root, as GitHub reads them, start here at the folder of the documents.

    What lies outside this folder is no page: the name of the file remains.
    """
    text = re.sub(r"\[([^\]]+)\]\((?:(?:\.\./)+|/)(?!docs/)[^)]+\)", r"\1", content[0])
    content[0] = text.replace("](/docs/", "](/").replace("```csv", "```text")


def _plain(app, kind: str, name: str, of, options, lines: list[str]) -> None:
    """Docstrings are plain text: signs that are markup to Sphinx alone stand for themselves."""
    lines[:] = [re.sub(r"([*|])", r"\\\1", line) for line in lines]


def setup(app) -> None:
    """Called by Sphinx."""
    app.connect("autodoc-process-docstring", _plain, priority=100)  # before napoleon
    app.connect("builder-inited", _generate)
    app.connect("source-read", _links)
