"""Reports on runs as a page and as Markdown: `python -m experiments.report`."""
