"""Reading Parquet files, for which pyarrow is needed."""

from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

from .optional_packages import optional_package


@contextmanager
def reading_parquet(file: str, error_type: type[ValueError] = ValueError) -> Iterator[ModuleType]:
    """Import what reads Parquet, and let its errors in the body name the file.

    Args:
        file: The file, for messages.
        error_type: What is raised of a file that is none, or damaged.

    Yields:
        ``pyarrow.parquet``.

    Raises:
        ImportError: If there is no pyarrow.
        ValueError: Of the type that was given.
    """
    arrow = optional_package('pyarrow', file)
    try:
        yield optional_package('pyarrow.parquet', file)
    except (arrow.ArrowException, OSError, UnicodeDecodeError) as error:
        if isinstance(error, OSError) and error.errno is not None:  # of the system, not of what is read
            raise
        reason = ' '.join(str(error).split())
        raise error_type(
            f'{file}: expected a Parquet file, got a damaged or another one ({reason})'
        ) from error
