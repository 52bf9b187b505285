"""The page: pictures and tables of one run in a single HTML file that needs nothing else."""

import base64
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from trivmap.reports.drawings import FORMATS, KEYS, Drawing
from trivmap.store.environment import package_version
from trivmap.store.figures import figure_formats, write_figures
from trivmap.store.files import write_text


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
    pictures: Sequence[Drawing],
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
    filled = [{**vars(section), "pictures": _inlined(section, pictures)} for section in sections]
    kept = [section for section in filled if section["pictures"] or section["table"] or section["blocks"]]
    return environment.get_template("report.html.j2").render(
        title=title, subtitle=subtitle, description=description, style=style, tiles=tiles, warnings=warnings,
        sections=kept, missing=missing, version=package_version("trivmap") or "", results=results,
        columns=_columns(len(tiles)),
    )  # fmt: skip


def _columns(tiles: int) -> int:
    """Tiles in a row of a wide page: at most six, and none is left alone in the last row."""
    fits = [columns for columns in range(3, 7) if tiles % columns != 1] or [6]
    return min(fits, key=lambda columns: (-(-tiles // columns), -(-tiles // columns) * columns - tiles))


def write_page(path: Path, text: str, pictures: Sequence[Drawing], formats: Collection[str] = ()) -> None:
    """Write a page, and into the folder of figures beside it each picture with the numbers behind it.

    A picture is written as PNG, as CSV, in the `formats`, and in every format that an earlier page left in the folder:
    nothing there is older than the page. Pictures of an earlier page that have no successor are removed. Raises
    `InputError`, with nothing written, if a file of such a name is the user's own.
    """
    root, keys = path.parent, {picture.key for picture in pictures}
    # Early versions kept no list of the files that they wrote.
    early = [f"{key}.{suffix}" for key in {*keys, *KEYS} for suffix in ("csv", *FORMATS)]
    files = {f"{picture.key}.csv": picture.table.encode() for picture in pictures}
    for suffix in sorted({"png", *formats, *figure_formats(root, early)} - {"csv"}):
        for picture in pictures:
            files[f"{picture.key}.{suffix}"] = picture.png if suffix == "png" else picture.file(suffix)
    write_figures(root, files, early)
    write_text(path, text)


def _inlined(section: Section, pictures: Sequence[Drawing]) -> list[dict[str, Any]]:
    """The pictures of a section for the template; one without a neighbor has its caption beside it."""
    own = [picture for picture in pictures if picture.section == section.anchor]
    beside = section.table is not None and section.table.beside
    narrow = sum(not picture.wide for picture in own) + beside
    found = [
        {"title": each.title, "caption": each.caption, "alt": each.alt, "look": "wide" if each.wide else "",
         "data": base64.b64encode(each.png).decode("ascii")}
        for each in own
    ]  # fmt: skip
    if narrow % 2 and not beside:
        last = [index for index, each in enumerate(own) if not each.wide][-1]
        found[last]["look"] = "alone"
    return found
