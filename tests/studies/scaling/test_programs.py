import os

import pytest

from trivmap.studies.scaling import programs
from trivmap.studies.scaling.programs import forget_programs, programs_folder


@pytest.fixture
def own(tmp_path, monkeypatch):
    monkeypatch.setattr(programs, "FOLDER", tmp_path)
    return tmp_path / f"trivmap-programs-{os.getuid()}"


def test_a_study_has_a_folder_that_is_this_user_s_alone(own, tmp_path):
    first, second = programs_folder(tmp_path / "a"), programs_folder(tmp_path / "b")
    assert first != second and first.parent == own and first == programs_folder(tmp_path / "a")
    assert all(path.stat().st_mode & 0o777 == 0o700 for path in (own, first, second))
    (first / "program").write_bytes(b"x")
    forget_programs(tmp_path / "a")
    assert not first.exists() and second.exists()


def test_one_that_others_may_write_to_is_not_used(own, tmp_path):
    own.mkdir()
    own.chmod(0o777)
    assert programs_folder(tmp_path / "a") is None


def test_nor_is_one_behind_a_link_or_a_file(own, tmp_path):
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    own.symlink_to(tmp_path / "elsewhere")
    assert programs_folder(tmp_path / "a") is None and not list((tmp_path / "elsewhere").iterdir())
    own.unlink()
    own.write_text("")
    assert programs_folder(tmp_path / "a") is None


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a folder away")
def test_nor_is_that_of_another_user(own, tmp_path):
    own.mkdir(mode=0o700)
    os.chown(own, 4001, 4001)
    assert programs_folder(tmp_path / "a") is None
