"""Output paths, looked at before any work is done."""

from __future__ import annotations

from pathlib import Path

from morphospace.errors import RunError
from morphospace.files import check_parent


def check_picture(out: str) -> Path:
    """Return the path of a picture to write.

    Raises:
        SettingError: It is no .png, or lies where nothing can be written.
    """
    from morphospace.pictures.sheet import check_picture_path

    path = Path(out)
    check_picture_path(path)
    check_parent(path)
    return path


def check_folder(out: str, *, holds: str, what: str) -> Path:
    """Return the path of a folder to make or to go on with.

    Args:
        out: The path.
        holds: The file that says that the folder is ours already.
        what: What it is to become, in words.

    Raises:
        RunError: It is something else already.
        SettingError: It cannot be written.
    """
    path = Path(out)
    if path.exists() and not (path / holds).is_file() and (not path.is_dir() or any(path.iterdir())):
        raise RunError("out", out, f"is there already and is not a {what}", "choose another path")
    check_parent(path)
    return path
