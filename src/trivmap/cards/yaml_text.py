"""YAML as run cards use it: 1e-3 is a number, a key given twice is an error, errors name file and line."""

import re
from collections.abc import Hashable
from typing import Any

import yaml

from trivmap.errors import InputError


class _CardLoader(yaml.SafeLoader):
    """The safe loader with the floats of YAML 1.2 and without repeated keys."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[object] = set()
        for key_node, _ in node.value:
            key = key_node.value if isinstance(key_node, yaml.ScalarNode) else None
            if key is not None and key in seen and key != "<<":
                raise yaml.constructor.ConstructorError(None, None, f"key {key!r} is given twice", key_node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep)


# YAML 1.1, which PyYAML follows, wants a dot and a signed exponent in a float and reads 1e-3 as text.
_CardLoader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+"), list("-+0123456789.")
)


def parse(text: str, source: str) -> Any:
    """The value of a YAML text; raises `InputError` naming `source`, line and column where it is not YAML."""
    try:
        return yaml.load(text, Loader=_CardLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"{source}, line {mark.line + 1}, column {mark.column + 1}" if mark else source
        raise InputError(f"{where}: not valid YAML: {error.problem or error.context}") from error
    except yaml.YAMLError as error:
        raise InputError(f"{source}: not valid YAML: {' '.join(str(error).split())}") from error


def dump(data: Any) -> str:
    """YAML of plain data in its own order; what fits on a line is written on one."""
    return yaml.safe_dump(data, sort_keys=False, default_flow_style=None, width=110, allow_unicode=True)
