"""A report of runs, as a page and as Markdown: `python -m experiments.report`."""
