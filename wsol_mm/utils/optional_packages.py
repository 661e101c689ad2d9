"""Packages that only some functions need."""

import importlib
from types import ModuleType


def optional_package(module: str, purpose: str) -> ModuleType:
    """Import a package that is not among the requirements.

    Args:
        module: What to import; the package is called like its first part.
        purpose: The argument or file that needs it.

    Returns:
        The module.

    Raises:
        ImportError: If it is not installed.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        package = module.partition('.')[0]
        if (error.name or '').partition('.')[0] != package:  # something else is missing
            raise
        message = f'{purpose}: expected the package {package}, got none. pip install {package}'
        raise ImportError(message) from error
