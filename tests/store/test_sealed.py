import hashlib
import json
import re
import shutil
from types import NoneType

import pytest

from trivmap.errors import InputError
from trivmap.store.files import write_environment, write_json, write_text
from trivmap.store.sealed import digest, fits, read_json, read_list, read_sealed_text, seal
from trivmap.trust import trusting

CONTENT = {"schema": 1, "value": 0.57, "numbers": [1, 2.5, None], "text": "φ⁴", "flag": True, "inner": {"b": 1, "a": 2}}


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "summary.json"
    write_environment(tmp_path, {})
    write_json(path, CONTENT)
    return path


@pytest.fixture
def older(tmp_path):
    """A file of a version without checksums."""
    path = tmp_path / "older" / "summary.json"
    path.parent.mkdir()
    path.write_text(json.dumps(CONTENT))
    return path


def test_the_checksum_is_that_of_the_content(path):
    raw = json.loads(path.read_text())
    assert list(raw)[-2:] == ["origin", "sha256"]
    written = raw.pop("sha256")
    assert written == digest(raw) == hashlib.sha256(json.dumps(raw, sort_keys=True).encode()).hexdigest()
    assert raw == CONTENT | {"origin": f"{identity(path.parent)}/summary.json"}
    assert read_json(path, "") == CONTENT


def identity(root):
    return json.loads((root / "environment.json").read_text())["run"]


def test_a_file_of_another_run(path, tmp_path):
    other = tmp_path / "other" / "summary.json"
    other.parent.mkdir()
    write_environment(other.parent, {})
    write_json(other, CONTENT | {"value": 0.58})
    assert identity(path.parent) != identity(other.parent)
    shutil.copy(other, path)
    with pytest.raises(InputError) as caught:
        read_json(path, "restore it")
    assert str(caught.value) == (
        f"{path}: belongs to another run than {path.parent / 'environment.json'}, or to another place in it; restore "
        "the one that was copied here, or restore it, or trust it with --trust"
    )
    with trusting():
        assert read_json(path, "")["value"] == 0.58
    # Nor does it fit together with the identity of its own run, next to files of this one.
    write_json(path, CONTENT)
    shutil.copy(other.parent / "environment.json", path.parent)
    with pytest.raises(InputError, match="belongs to another run"):
        read_json(path, "restore it")
    # The whole directory may be copied, and a record of the machine that is lost does no harm.
    copied = tmp_path / "copied"
    shutil.copytree(other.parent, copied)
    assert read_json(copied / "summary.json", "")["value"] == 0.58
    (copied / "environment.json").unlink()
    assert read_json(copied / "summary.json", "")["value"] == 0.58


def test_a_file_of_another_place_in_the_run(path):
    root = path.parent
    (root / "done").mkdir()
    for name in ("a", "b"):
        write_json(root / "done" / name, {"name": name}, root)
        assert read_json(root / "done" / name, "", root=root) == {"name": name}
    shutil.copy(root / "done" / "a", root / "done" / "b")
    with pytest.raises(
        InputError, match=r"b: belongs to another run than .*environment\.json, or to another place in it"
    ):
        read_json(root / "done" / "b", "", root=root)


def test_an_origin_that_was_taken_out(path):
    content = json.loads(path.read_text())
    del content["origin"], content["sha256"]
    path.write_text(seal(json.dumps(content)))
    with pytest.raises(InputError, match="belongs to another run"):
        read_json(path, "")


def test_a_file_from_before_the_identities(tmp_path):
    write_json(tmp_path / "environment.json", {"seed": 3})
    path = tmp_path / "summary.json"
    write_json(path, CONTENT)
    assert list(json.loads(path.read_text())) == [*CONTENT, "sha256"]
    assert read_json(path, "") == CONTENT


def test_another_form_of_the_same_content(path):
    path.write_text(json.dumps(json.loads(path.read_text()), sort_keys=True, separators=(",", ":")))
    assert read_json(path, "") == CONTENT


@pytest.mark.parametrize("content", [{}, {"a": {}}, {2: 1, 10: 2}])
def test_small_and_odd_content(path, content):
    write_json(path, content)
    assert read_json(path, "") == json.loads(json.dumps(content))


def test_every_digit_counts(path):
    text = path.read_text()
    checked = 0
    # Not those in the name of the checksum: without it, this is a file of an older version, and no number differs.
    for found in re.finditer(r"(?<!sha)(?<!sha2)(?<!sha25)\d", text):
        digits = str((int(found[0]) + 3) % 10)
        altered = text[: found.start()] + digits + text[found.end() :]
        path.write_text(altered)
        with pytest.raises(InputError) as caught:
            read_json(path, "run trivmap measure again")
        said = str(caught.value)
        if found.start() != text.index("1"):
            assert said == (
                f"{path}: was altered, its checksum does not fit; run trivmap measure again, or "
                "trust it as it is with --trust"
            )
        checked += 1
        with trusting():
            # The schema excepted.
            if "is newer" not in said:
                assert read_json(path, "") == {
                    k: v for k, v in json.loads(altered).items() if k not in ("origin", "sha256")
                }
    assert checked > 50


def test_an_older_file_has_none(older):
    assert read_json(older, "") == CONTENT


def test_a_file_without_one_in_a_run_that_has_them(older):
    path = older
    environment = path.parent / "environment.json"
    environment.write_text("{}")
    assert read_json(path, "") == CONTENT
    write_json(environment, {})
    with pytest.raises(InputError, match=r"summary\.json: was altered, its checksum does not fit; restore it"):
        read_json(path, "restore it")
    inner = path.parent / "model" / "header.json"
    inner.parent.mkdir()
    inner.write_text("{}")
    assert read_json(inner, "") == {}
    with pytest.raises(InputError, match="was altered"):
        read_json(inner, "", root=path.parent)
    with trusting():
        assert read_json(path, "") == CONTENT


def test_a_newer_file(path):
    write_json(path, CONTENT | {"schema": 2})
    with pytest.raises(InputError) as caught:
        read_json(path, "")
    assert str(caught.value) == f"{path}: schema 2 is newer than this trivmap, which reads 1: upgrade trivmap"


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "3", '"text"', "[" * 100_000, "\0" * 40, "\xff", "{} {}"])
def test_what_is_no_object(path, text):
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(InputError) as caught:
        read_json(path, "delete it")
    assert str(caught.value) == f"{path}: is damaged; delete it"


def test_what_is_missing(tmp_path):
    for read in (read_json, read_list, read_sealed_text):
        with pytest.raises(InputError) as caught:
            read(tmp_path / "a", "write it again")
        assert str(caught.value) == f"{tmp_path / 'a'}: is missing; write it again"


def test_shapes(path):
    assert read_json(path, "", shape={"schema": int, "value": (int, float), "none?": str}) == CONTENT
    for shape in ({"none": str}, {"value": str}, {"flag": int}, {"text?": int}):
        with pytest.raises(InputError, match=r"summary\.json: is damaged; delete it"):
            read_json(path, "delete it", shape=shape)


NESTED = {
    "a": [{"x": (int, NoneType)}],
    "b?": ({"*": {"value": (int, float)}}, NoneType),
}


@pytest.mark.parametrize(
    "content",
    [{"a": []}, {"a": [{"x": 1}, {"x": None}], "b": None}, {"a": [], "b": {"any": {"value": 2.5}, "c": {"value": 1}}}],
)
def test_nested_shapes(content):
    assert fits(content, NESTED)


@pytest.mark.parametrize(
    "content",
    [3, [], {}, {"a": {}}, {"a": [3]}, {"a": [{}]}, {"a": [{"x": True}]}, {"a": [], "b": []}, {"a": [], "b": {"c": 3}}],
)
def test_other_nested_shapes(content):
    assert not fits(content, NESTED)


@pytest.mark.parametrize("text", ['{"a": ' + "[" * 900 + "]" * 900 + "}", '{"a": "\\ud800"}', '{"\\udfff": 1}'])
def test_what_no_page_can_show(path, text):
    path.write_text(text)
    with trusting(), pytest.raises(InputError, match=r"summary\.json: is damaged; delete it"):
        read_json(path, "delete it")


def test_lists(path):
    write_json(path, [True, False])
    assert read_list(path, "") == [True, False]
    write_json(path, {})
    with pytest.raises(InputError, match="is damaged"):
        read_list(path, "")


def test_texts_keep_their_form(path):
    text = seal('{\n "a": [1,\n 2]\n}')
    assert text == f'{{\n "a": [1,\n 2],\n  "sha256": "{digest({"a": [1, 2]})}"\n}}\n'
    path = path.parent / "older" / "text.json"
    path.parent.mkdir()
    write_text(path, text)
    assert read_sealed_text(path, "") == text
    write_text(path, text.replace("2", "3", 1))
    with pytest.raises(InputError, match="was altered"):
        read_sealed_text(path, "")
