"""How Sphinx builds the site: `make docs`."""

import dsrl_jax

project = "dsrl_jax"
author = "The dsrl_jax authors"
release = dsrl_jax.__version__
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
html_theme = "furo"
exclude_patterns = ["_build"]
autodoc_member_order = "bysource"
napoleon_use_ivar = True  # a field is documented once, with its class
autodoc_typehints = "none"  # The signatures stand in the docstrings' words; types clutter them.
suppress_warnings = ["misc.highlighting_failure"]
