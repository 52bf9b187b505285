"""YAML: numbers and text as a reader expects them, limits, and one sentence for whatever is none."""

import time

import pytest
import yaml

from trivmap.cards import yaml_text
from trivmap.errors import InputError


def validation_error(text) -> str:
    begun = time.monotonic()
    with pytest.raises(InputError) as caught:
        yaml_text.parse(text, "my.yaml")
    assert time.monotonic() - begun < 5
    sentence = str(caught.value)
    assert "\n" not in sentence and len(sentence) < 400
    return sentence


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 1e-3),
        ("-.5E+2", -50.0),
        ("1.", 1.0),
        ("1_000", 1000),
        ("0x1F", 31),
        ("0", 0),
        ("-.inf", float("-inf")),
        # Text that begins as a number.
        ("1e5-run", "1e5-run"),
        ("2e3_test", "2e3_test"),
        ("1.0e3abc", "1.0e3abc"),
        ("0o10", "0o10"),
        ("008", "008"),
        ("=", "="),
        # Dates are text.
        ("2024-01-02", "2024-01-02"),
        ("2024-99-99", "2024-99-99"),
        ("2001-12-14 21:59:43.10", "2001-12-14 21:59:43.10"),
        ("yes", True),
        ("'010'", "010"),
        ("[8, {a: null}]", [8, {"a": None}]),
    ],
)
def test_values(text, value):
    found = yaml_text.parse(f"key: {text}", "text")["key"]
    assert found == value and type(found) is type(value)


def test_json():
    text = '{"lattice": [8, 8], "action": {"m_sq": 2.5e-3}, "name": null, "on": true, "text": "\\u00e9 1:30"}'
    wanted = {"lattice": [8, 8], "action": {"m_sq": 0.0025}, "name": None, "on": True, "text": "é 1:30"}
    assert yaml_text.parse(text, "card.json") == wanted


def test_anchors_and_merges():
    text = "a: &a {x: 1, y: 2}\nb: {<<: *a, y: 3}\nc: [*a, *a]\n"
    assert yaml_text.parse(text, "text")["b"] == {"x": 1, "y": 3}


@pytest.mark.parametrize(
    "value",
    ["1e5", "2024-01-02", "010", "1:30", "0x1F", "yes", "1_000", "=", "008", "null", "1.5", ".inf", "1e-3", 1e-3, 1e22],
)
def test_what_is_written_is_read_again(value):
    text = yaml_text.dump({"a": value})
    assert yaml_text.parse(text, "text") == {"a": value}
    if isinstance(value, str):
        # By other readers, too.
        assert yaml.safe_load(text) == {"a": value}


NINE_LEVELS = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 10)
)
MERGES = "a0: &a0 {x: 1}\n" + "".join(f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 9)}]}}\n" for n in range(1, 10))


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (
            "lattice: [010, 010]",
            "my.yaml, line 1, column 11: not valid YAML: 010 begins with 0, which makes it an octal number in YAML; "
            "write 10, or put text in quotes",
        ),
        (
            "a: -07",
            "not valid YAML: -07 begins with 0, which makes it an octal number in YAML; write 7, or put text in quotes",
        ),
        ("seed: 1:30", "not valid YAML: 1:30 is a number in base 60 in YAML; write it as one number"),
        ("seconds: 1:30.5", "not valid YAML: 1:30.5 is a number in base 60 in YAML"),
        ("a: !!bool maybe", "line 1, column 4: not valid YAML: 'maybe' cannot be read as bool"),
        ("a: !!int abc", "not valid YAML: 'abc' cannot be read as int"),
        ("a: !!float abc", "not valid YAML: 'abc' cannot be read as float"),
        ("a: !!timestamp abc", "not valid YAML: 'abc' cannot be read as timestamp"),
        ("a: !!octal [5]", "not valid YAML: expected a scalar node, but found sequence"),
        ("a: !!sexagesimal [5]", "not valid YAML: expected a scalar node, but found sequence"),
        (f"a: !!int {[5] * 500}", "not valid YAML: expected a scalar node, but found sequence"),
        ("a: !!map [1]", "line 1, column 4: not valid YAML: expected a mapping node, but found sequence"),
        ("a: !!map bc", "line 1, column 4: not valid YAML: expected a mapping node, but found scalar"),
        ("a: !!set [1]", "line 1, column 4: not valid YAML: expected a mapping node, but found sequence"),
        ("a: !!set {[1]: null}", "not valid YAML: found unhashable key"),
        ("a: !!omap {b: 1}", "not valid YAML: expected a sequence, but found mapping"),
        ('a: "\\U00110000"', "line 1, column 7: not valid YAML: this text cannot be read (chr()"),
        ('a: "\\Uffffffff"', "line 1, column 7: not valid YAML: this text cannot be read ("),
        (f"%YAML {'1' * 5000}.1\n---\na: 1", "line 1, column 7: not valid YAML: this text cannot be read"),
        ("a: !<%ff> b", "not valid YAML: "),
        ("a: " + "1" * 5000, "not valid YAML: a number of 5000 digits is too long"),
        ("a: 0x" + "f" * 4999, "not valid YAML: a number of 5001 digits is too long"),
        ("modle: &m {base: *m}", "line 1, column 18: not valid YAML: *m refers to a value that contains it"),
        ("[" * 3000, "not valid YAML: sections are nested more than 64 deep"),
        ("? " * 3000, "not valid YAML: sections are nested more than 64 deep"),
        (NINE_LEVELS, "line 5, column 15: not valid YAML: a card has at most 20000 values, aliases written out"),
        (MERGES, "not valid YAML: a card has at most 20000 values, aliases written out"),
        ("lattice: [" + "4, " * 300_000 + "4]", "not valid YAML: a card has at most 20000 values"),
        ("#" * 1_000_001, "my.yaml: has more than 1000000 characters, which no card needs"),
        ("a: !!python/object:os.system x", "not valid YAML: could not determine a constructor for the tag"),
        ("{[1]: 3}", "not valid YAML: found unhashable key"),
        (f"{'k' * 900}: 1\n{'k' * 900}: 2", f"line 2, column 1: not valid YAML: key '{'k' * 40}' is given twice"),
        (f"a: *{'k' * 5000}", "not valid YAML: found undefined alias"),
        ('action: {"\\ud800": 1}', "line 1, column 10: not valid YAML: key '\\ud800' has half of a surrogate pair"),
    ],
    ids=range(34),
)
def test_refusals(text, sentence):
    assert sentence in validation_error(text)
