"""Types of command-line arguments."""

import argparse
from collections.abc import Callable


def at_least(low: int) -> Callable[[str], int]:
    """Return the type of an argument that is an integer of at least ``low``."""

    def integer(text: str) -> int:
        value = int(text)
        if value < low:
            raise argparse.ArgumentTypeError(f'expected at least {low}, got {value}')
        return value

    return integer
