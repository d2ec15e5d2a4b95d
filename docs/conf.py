"""Sphinx builds this documentation: ``nox -s docs``, then open site/index.html."""

import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from docs.frameworks_page import frameworks_markdown
from docs.metrics_page import metrics_markdown, options_that_strike, reasons
from docs.options_page import options_markdown
from docs.peers_page import peer_markdown
from trioserve._config.peers import PEERS
from trioserve._version import __version__

project = "trioserve"
author = "The trioserve authors"
copyright = "The trioserve authors"
version = release = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["examples"]
myst_enable_extensions = ["deflist"]
myst_heading_anchors = 3
nitpicky = False
autodoc_class_signature = "separated"  # of Config it would be every option, which have a page of their own
autodoc_default_options = {"exclude-members": "__init__, __new__"}
autodoc_preserve_defaults = True
autodoc_typehints = "none"  # those of applications are longer than what is said of them
napoleon_use_ivar = True
html_theme = "furo"
html_title = "trioserve"
html_copy_source = False
html_css_files = ["tables.css"]
html_show_sourcelink = False
html_static_path = ["_static"]
suppress_warnings = ["myst.header"]


def fill_in_options(app: Any, docname: str, source: list[str]) -> None:
    """Options are described by ``Config`` and by the tables of other servers' options, so no page can drift."""
    if docname == "reference/options":
        source[0] = source[0].replace("<!-- options -->", options_markdown())
    for peer in PEERS:
        if docname == f"guides/from-{peer.name}":
            source[0] = source[0].replace(f"<!-- options of {peer.name} -->", peer_markdown(peer))


def fill_in_frameworks(app: Any, docname: str, source: list[str]) -> None:
    """What runs where is what the tests have found."""
    if docname == "guides/frameworks":
        source[0] = source[0].replace("<!-- frameworks -->", frameworks_markdown())


def fill_in_metrics(app: Any, docname: str, source: list[str]) -> None:
    """Metrics are described where the server describes them."""
    if docname == "reference/metrics":
        source[0] = source[0].replace("<!-- metrics -->", metrics_markdown())
        source[0] = source[0].replace("<!-- options that strike -->", options_that_strike())
        source[0] = source[0].replace("<!-- reasons -->", reasons())


def setup(app: Any) -> None:
    app.connect("source-read", fill_in_frameworks)
    app.connect("source-read", fill_in_metrics)
    app.connect("source-read", fill_in_options)
