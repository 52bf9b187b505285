"""The page: pictures and tables of one run in a single HTML file that needs nothing else."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from trivmap.store.directory import RunDirectory
from trivmap.store.environment import package_version
from trivmap.store.files import write_text


@dataclass(frozen=True)
class Picture:
    """A figure of the page: `key` names its PNG file."""

    key: str
    section: str
    title: str
    caption: str
    data: bytes
    wide: bool = False


@dataclass(frozen=True)
class Row:
    """A row of a table as printed; `state` is its style, `note` stands small below its first cell."""

    cells: Sequence[str]
    state: str = ""
    note: str = ""


@dataclass(frozen=True)
class PageTable:
    """A table as printed; `kind` names its style, `beside` puts it among the pictures."""

    kind: str
    header: Sequence[str]
    rows: Sequence[Row]
    note: str = ""
    beside: bool = False


def plain_table(content: tuple[list[str], list[list[str]]], note: str) -> PageTable | None:
    """A table of results from its header and its rows of text; None without rows."""
    header, rows = content
    return PageTable("results", header, [Row(cells) for cells in rows], note) if rows else None


@dataclass(frozen=True)
class Section:
    """A heading with what stands below it; pictures name their section by its `anchor`."""

    anchor: str
    title: str
    text: str = ""
    table: PageTable | None = None
    blocks: Sequence[Mapping[str, str]] = ()
    """Each a `title` with a `text` that is shown on demand."""


def render(
    *,
    title: str,
    subtitle: str,
    description: str | None,
    warnings: Sequence[str],
    sections: Sequence[Section],
    pictures: Sequence[Picture],
    tiles: Sequence[Any] = (),
    missing: Mapping[str, str] | None = None,
    results: str = "",
) -> str:
    """The HTML text, with a fingerprint of the `results` that it shows.

    Every picture appears inside, as base64, in the section it names.
    """
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("trivmap.reports"), autoescape=True, undefined=jinja2.StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    style = resources.files("trivmap.reports").joinpath("templates/report.css").read_text()
    filled = [
        {**vars(section), "pictures": [_inlined(picture) for picture in pictures if picture.section == section.anchor]}
        for section in sections
    ]
    kept = [section for section in filled if section["pictures"] or section["table"] or section["blocks"]]
    return environment.get_template("report.html.j2").render(
        title=title, subtitle=subtitle, description=description, style=style, tiles=tiles, warnings=warnings,
        sections=kept, missing=missing, version=package_version("trivmap") or "", results=results,
    )  # fmt: skip


def write_page(path: Path, text: str, pictures: Sequence[Picture]) -> None:
    """Write a page, and its pictures into the folder of figures beside it."""
    for picture in pictures:
        RunDirectory(path.parent).write_figure(picture.key, picture.data)
    write_text(path, text)


def _inlined(picture: Picture) -> dict[str, Any]:
    data = base64.b64encode(picture.data).decode("ascii")
    return {"title": picture.title, "caption": picture.caption, "data": data, "wide": picture.wide}
