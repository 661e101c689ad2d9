"""Files that a page may serve: those in one folder."""

from pathlib import Path


def file_inside(folder: Path, name: str) -> Path | None:
    """Find a file in a folder, wherever links lead.

    Args:
        folder: The folder.
        name: Path relative to it.

    Returns:
        Its real path; None if there is no such file, or it lies outside of the folder.
    """
    try:
        path = Path(folder, name).resolve(strict=True)
    except (OSError, ValueError, RuntimeError):  # missing; a zero byte in the name; a link to itself
        return None
    return path if path.is_file() and path.is_relative_to(folder.resolve()) else None
