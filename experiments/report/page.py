"""Renders a document as one self-contained HTML page and as Markdown."""

import re
from pathlib import Path

import jinja2

from experiments.report.document import Cell, Document, Figure, Table

_TEMPLATE = Path(__file__).with_name("page.html")


def to_html(document: Document, refresh: int | None = None) -> str:
    """Returns the page with its pictures; escapes all text.

    Args:
      refresh: seconds after which a browser reloads the page; None: never.
    """
    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    environment.filters["anchor"] = anchor
    template = environment.from_string(_TEMPLATE.read_text())
    return template.render(document=document, refresh=refresh)


def to_markdown(document: Document) -> str:
    """Returns the tables and texts, and the captions of pictures."""
    lines = [f"# {document.title}", "", document.text, ""]
    lines += [f"- {_escape(note)}" for note in document.notes]
    for section in document.sections:
        lines += ["", f"## {section.title}", "", section.text]
        for block in section.blocks:
            lines += ["", *(_table(block) if isinstance(block, Table) else _figure(block))]
    return "\n".join(lines)


def anchor(title: str) -> str:
    """Returns the name of a section in an address."""
    return re.sub(r"\W+", "-", title.lower()).strip("-")


def _table(table: Table) -> list[str]:
    marks = [":--" if place < table.words else "--:" for place in range(len(table.header))]
    rows = [" | ".join(map(_cell, row)) for row in (table.header, marks, *table.rows)]
    return [f"**{table.caption}**", "", *(f"| {row} |" for row in rows)]


def _figure(figure: Figure) -> list[str]:
    count = len(figure.pictures)
    return [f"*{figure.caption}: {count} picture{'s' if count > 1 else ''}, in the page.*"]


def _cell(cell: str | Cell) -> str:
    return _escape(cell.text if isinstance(cell, Cell) else cell)


def _escape(text: str) -> str:
    """Escapes the markup of tables."""
    return text.replace("|", "\\|").replace("\n", " ")
