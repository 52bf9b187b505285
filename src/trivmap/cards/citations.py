"""The papers whose methods a card uses, as BibTeX; `citations.yaml` holds them and the keys that use each."""

import functools
import re
from collections.abc import Iterator, Mapping
from importlib import metadata
from importlib.resources import files
from typing import Any

import yaml

ARXIV = re.compile(r"\b(\d{4}\.\d{4,5}|(?:hep-lat|cond-mat|physics)/\d{7})\b")
"""An arXiv number in a text."""


@functools.cache
def known() -> dict[str, Any]:
    """The content of `citations.yaml`."""
    return yaml.safe_load(files("trivmap.cards").joinpath("citations.yaml").read_text(encoding="utf-8"))


def cited(card: Mapping[str, Any]) -> dict[str, list[str]]:
    """The papers of a card by number, with the reasons for which each is cited.

    Args:
        card: the plain data of a run card, every default written out.
    """
    found: dict[str, list[str]] = {}

    def add(why: str, numbers: list[str]) -> None:
        for number in numbers:
            reasons = found.setdefault(number, [])
            reasons += [why] if why not in reasons else []

    numbers = ARXIV.findall(str(card.get("reference") or ""))
    add("reference of the card", [number for number in numbers if number in known()["entries"]])
    for line in dict.fromkeys(_lines(card)):
        add(line.replace(".*", "").replace("=", ": "), known()["uses"].get(line, []))
    for why, always in known()["always"].items():
        add(why, always)
    return found


def bibtex(number: str, reasons: list[str]) -> str:
    """The BibTeX entry of a paper, below a comment with the reasons for citing it.

    Args:
        number: its arXiv number or DOI.
        reasons: the reasons for citing it.
    """
    entry = known()["entries"][number]
    fields = {"author": entry["authors"], "title": f"{{{entry['title']}}}", "year": str(entry["year"])}
    fields |= {name: entry[name] for name in ("journal", "volume", "pages") if name in entry}
    fields |= {"doi": number} if number.startswith("10.") else {"eprint": number, "archivePrefix": "arXiv"}
    return _entry("article" if "journal" in entry else "misc", key_of(number), fields, "; ".join(reasons))


def bibtex_of_trivmap() -> str:
    """The BibTeX entry of the version of this package, as CITATION.cff has it."""
    title = "{trivmap: learned trivializing maps for lattice field theories}"
    fields = {"author": "{The trivmap developers}", "title": title, "version": metadata.version("trivmap")}
    return _entry("software", "trivmap", fields, "the software itself")


def key_of(number: str) -> str:
    """The BibTeX key of a paper: the first author's family name, the year, and the paper's number if it has one."""
    entry = known()["entries"][number]
    family = re.sub(r"\\.|[^A-Za-z]", "", entry["authors"].split(",")[0])
    return f"{family}:{entry['year']}" + (f":{number.rpartition('/')[2]}" if ARXIV.fullmatch(number) else "")


def _entry(kind: str, key: str, fields: Mapping[str, str], why: str) -> str:
    lines = [f"  {name} = {{{value}}}," for name, value in fields.items()]
    return "\n".join((f"% {why}", f"@{kind}{{{key},", *lines, "}"))


def _lines(data: Any, where: str = "") -> Iterator[str]:
    """`key=value` for every value of a card, as in `uses`; rungs of a ladder are trained like the card itself."""
    if isinstance(data, Mapping):
        for key, value in data.items():
            if not (where == "training" and key == "objective" and isinstance(value, str)):
                yield from _lines(value, f"{where}.{key}" if where else str(key))
            else:
                yield f"{where}.{key}.kind={value}"
    elif isinstance(data, list):
        for value in data:
            yield from _lines(value, "training" if where == "training.ladder" else f"{where}.*")
    else:
        yield f"{where}={data}"
