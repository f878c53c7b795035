"""Output paths, looked at before any work is done."""

from __future__ import annotations

import tempfile
from pathlib import Path

from morphospace.errors import RunError, SettingError


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


def check_drawing(out: str) -> Path:
    """Return the path of a picture or film to write.

    Raises:
        SettingError: It is none of .png, .gif, .webp and .mp4, or lies where nothing can be written.
        MissingExtra: An MP4 without its encoder.
    """
    from morphospace.pictures.films import FILMS, check_film_path

    path = Path(out)
    if path.suffix.lower() not in (".png", *FILMS) or path.is_dir():
        raise SettingError("out", out, "must be a file name that ends in .png, .gif, .webp or .mp4")
    if path.suffix.lower() != ".png":
        check_film_path(path)
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


def check_parent(path: Path, name: str = "out") -> None:
    """Refuse a path whose folder is none or cannot be written to.

    Args:
        path: Where something is to be written.
        name: The flag that says so.

    Raises:
        SettingError: It is so.
    """
    there = path if path.is_dir() else path.absolute().parent
    while not there.exists() and there != there.parent:
        there = there.parent
    if not there.is_dir():
        raise SettingError(name, str(path), f"{str(there)!r} is not a folder", "choose another path")
    try:
        # Only a file tells: permissions alone say yes to root, on a file system that is read-only, or in /proc.
        with tempfile.TemporaryFile(dir=there):
            pass
    except OSError as error:
        why = error.strerror or str(error)
        raise SettingError(
            name, str(path), f"{str(there)!r} cannot be written to ({why})", "choose another path"
        ) from error
