# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: INP001 (Sphinx finds this file by its folder)
"""How Sphinx builds these pages: `make docs`. A link into nowhere, in a page or between two, ends the build."""

project = "chaosgpu"
root_doc = "docs/index"
include_patterns = ["docs/**", "README.md", "CONTRIBUTING.md", "CHANGELOG.md"]
extensions = ["myst_parser"]
myst_heading_anchors = 4  # a link to a heading of another page is checked, too
html_theme = "alabaster"  # comes with Sphinx and asks no other host for a font
html_theme_options = {
    "fixed_sidebar": True,
    "page_width": "86rem",
    "body_max_width": "none",
    "sidebar_width": "17rem",
    "font_size": "15px",
    "code_font_size": "12px",
}
html_copy_source = False
html_show_sourcelink = False
