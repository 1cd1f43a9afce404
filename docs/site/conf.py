"""Settings of Sphinx for the documentation site. ``scripts/site.py`` prepares the pages and calls it."""

from __future__ import annotations

import configparser
import os
import sys
from pathlib import Path

ROOT = Path(os.environ["HOSPPROXY_ROOT"])
sys.path.insert(0, str(ROOT))  # autodoc imports the interfaces that plugins implement

_setup = configparser.ConfigParser()
_setup.read(ROOT / "setup.cfg")

project = "hospproxy"
author = "the authors of hospproxy"
project_copyright = author
release = version = _setup["metadata"]["version"]

extensions = ["myst_parser", "sphinx.ext.autodoc"]
root_doc = "index"
source_suffix = {".rst": "restructuredtext", ".md": "markdown"}
language = "en"

# As a forge does it: a heading of any level can be linked to by its words.
myst_heading_anchors = 6
# A page of its own may begin with any level; the pictures of the README stand in the middle of a line.
suppress_warnings = ["myst.header"]

autodoc_member_order = "bysource"
autodoc_typehints = "description"
# Types of Twisted and of the standard library are pages of other sites.
nitpick_ignore_regex = [("py:.*", ".*")]
default_role = "code"

html_theme = "furo"
html_title = f"hospproxy {release}"
html_show_sphinx = False
html_copy_source = False
html_show_sourcelink = False
# Nothing is loaded from another host: a hospital's network may have no way out.
html_theme_options = {"navigation_with_keys": True, "footer_icons": []}
# Search works from file:// too: it needs no server, only the index that is built with the pages.
