"""Says in one line how a checkpoint differs from a model."""

import re


def describe_differences(message: str, shown: int = 3) -> str | None:
    """Put MMEngine's report on a strict load into one line.

    Args:
        message (str): Text of its RuntimeError.
        shown (int): How many keys of a kind to name.

    Returns:
        str | None: Numbers of missing, unexpected and mismatched keys, with the first ones; None if the text
        is no such report.
    """
    parts = []
    for kind, pattern in (
        ('missing', r'missing keys in source state_dict: (.+)'),
        ('unexpected', r'unexpected key in source state_dict: (.+)'),
        ('mismatched', r'size mismatch for (.+?): copying'),
    ):
        keys = [key for found in re.findall(pattern, message) for key in found.split(', ')]
        if keys:
            more = ', ...' if len(keys) > shown else ''
            parts.append(f'{len(keys)} {kind} ({", ".join(keys[:shown])}{more})')
    return ', '.join(parts) + ' keys' if parts else None
