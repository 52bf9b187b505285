"""Compiled programs that the runs of one study share, in a folder that only this user can access.

Programs are code, so they are not in the study's directory: otherwise the sender of a study could make others run
them.
"""

import hashlib
import os
import shutil
import stat
from pathlib import Path

FOLDER = Path("/tmp")
"""The parent of the folder, where others cannot rename or remove it."""


def programs_folder(root: Path) -> Path | None:
    """The folder of a study's programs, created if necessary; None if another user could write to it."""
    try:
        own = FOLDER / f"trivmap-programs-{os.getuid()}"
        own.mkdir(mode=0o700, exist_ok=True)
        found = own.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
            return None
        folder = own / hashlib.sha256(os.fsencode(root.resolve())).hexdigest()[:16]
        folder.mkdir(mode=0o700, exist_ok=True)
    except OSError:
        return None
    return folder


def forget_programs(root: Path) -> None:
    """Remove the compiled programs of a study."""
    folder = programs_folder(root)
    if folder is not None:
        shutil.rmtree(folder, ignore_errors=True)
