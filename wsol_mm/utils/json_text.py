"""Read JSON with one kind of error for whatever may be wrong with it."""

import json
from pathlib import Path
from typing import Any


def parse_json(content: str | bytes, source: object, accepted: str = 'JSON') -> Any:
    """Parse JSON.

    Args:
        content: Text, or bytes of UTF-8, UTF-16 or UTF-32.
        source: What it is of, for the error.
        accepted: What is expected of it, for the error.

    Returns:
        The value.

    Raises:
        ValueError: If it is no JSON, or nested too deep; it names ``source``.
    """
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as error:
        reason = 'nested too deep' if isinstance(error, RecursionError) else str(error)
        raise ValueError(f'{source}: expected {accepted}, got no valid JSON ({reason})') from error


def read_json(path: str | Path, accepted: str = 'JSON') -> Any:
    """Read a JSON file.

    Args:
        path: The file.
        accepted: What is expected of it, for the error.

    Returns:
        The value.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is no JSON, or nested too deep; it names the file.
    """
    return parse_json(Path(path).read_bytes(), path, accepted)
