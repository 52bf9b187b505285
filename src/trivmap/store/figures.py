"""The folder of figures in a directory."""

import os
from collections.abc import Collection, Mapping
from pathlib import Path

from trivmap.store.files import storing, write_bytes
from trivmap.store.folders import folder_of, inside, listed, own_folder

FOLDER = "figures"


def figure_files(root: Path) -> list[str]:
    """The names of the files in the folder of figures."""
    with inside(root):
        return listed(root / FOLDER)


def write_figures(root: Path, files: Mapping[str, bytes], remove: Collection[str] = ()) -> None:
    """Write files by name into the folder of figures, each all or nothing, and remove others."""
    folder = root / FOLDER
    with storing(folder), inside(root):
        own_folder(folder)
        for name, content in files.items():
            write_bytes(folder / name, content)
        for name in remove:
            with folder_of(folder / name) as opened:
                os.unlink(name, dir_fd=opened)
