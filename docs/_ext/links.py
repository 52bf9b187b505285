"""Links that a page has on the site alone: papers by their arXiv number, and pages that lie elsewhere in the tree."""

import re

NUMBER = re.compile(r"(?<![\[/\w])(arXiv:(\d{4}\.\d{4,5})|(?:arXiv:)?((?:hep-lat|cond-mat|physics)/\d{7}))(?![\]\d])")
MOVED = {"../../CONTRIBUTING.md": "../reference/contributing.md", "../../CHANGELOG.md": "../reference/changes.md"}


def linked(text: str, markdown: bool) -> str:
    """The text with links to its papers; spans of code stay."""

    def link(found: re.Match) -> str:
        address = f"https://arxiv.org/abs/{found[2] or found[3]}"
        return f"[{found[1]}]({address})" if markdown else f"`{found[1]} <{address}>`__"

    parts = re.split(r"(```.*?```|`[^`]*`)", text, flags=re.DOTALL)
    return "".join(part if place % 2 else NUMBER.sub(link, part) for place, part in enumerate(parts))


def _page(app, name, source):
    text = linked(source[0], markdown=True)
    for old, new in MOVED.items():
        text = text.replace(f"]({old}", f"]({new}")
    source[0] = text


def setup(app):
    app.connect("source-read", _page)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
