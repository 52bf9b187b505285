"""The classes of the page on extensions, as its reader has them in a file."""

import sys
from pathlib import Path
from types import ModuleType

_PAGE = Path(__file__).resolve().parents[1] / "docs" / "how-to" / "extending.md"


def my_theory() -> ModuleType:
    """The module `my_theory.py` of the page."""
    name = "tests.my_theory"
    if name not in sys.modules:
        source = _PAGE.read_text().split("# file: my_theory.py\n")[1].split("\n```")[0]
        module = ModuleType(name)
        sys.modules[name] = module
        exec(compile(source, str(_PAGE), "exec"), vars(module))
    return sys.modules[name]
