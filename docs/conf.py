"""The documentation site: `make docs` builds it, and any broken link or undocumented public name stops the build.

Sphinx with MyST-NB reads Markdown pages and runs the notebooks; the theme is the one of NumPy, SciPy and ArviZ. MkDocs
was the alternative: its common theme is in maintenance, its successor has no stable release.
"""

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE / "_ext")]

import trivmap  # noqa: E402

project = "trivmap"
author = "The trivmap developers"
copyright = "the trivmap developers"
version = release = trivmap.__version__

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
    "sphinx_design",
    "sphinx_click",
    "api_pages",
    "mathml",
    "links",
]
exclude_patterns = ["_build", ".venv", "_ext", "**/.ipynb_checkpoints"]
suppress_warnings = ["autosectionlabel.*"]

myst_enable_extensions = ["dollarmath", "colon_fence", "deflist", "smartquotes"]
myst_heading_anchors = 4
myst_links_external_new_tab = False

nb_execution_mode = "cache"
nb_execution_cache_path = str(HERE / "_build" / ".jupyter_cache")
nb_execution_timeout = 600
nb_execution_raise_on_error = True
nb_merge_streams = True

autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "all"
autodoc_class_signature = "mixed"
autodoc_preserve_defaults = True
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_attr_annotations = False

html_theme = "pydata_sphinx_theme"
html_title = f"trivmap {version}"
html_static_path = ["_static"]
templates_path = ["_templates"]
html_css_files = ["site.css"]
html_show_sourcelink = False
html_copy_source = False
html_theme_options = {
    "logo": {"text": "trivmap"},
    "navbar_align": "left",
    "navigation_with_keys": False,
    "show_toc_level": 2,
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": ["copyright"],
    "footer_end": ["theme-version"],
    "pygments_light_style": "a11y-high-contrast-light",
    "pygments_dark_style": "a11y-high-contrast-dark",
}
