"""The option of the command line that changes settings of a config."""

import argparse
from collections.abc import Iterator
from typing import Any

_CLOSING = {'[': ']', '(': ')'}
_QUOTES = '\'"'
_NAMES = {'true': True, 'false': False}


class ConfigOptionsAction(argparse.Action):
    """Action for ``KEY=VALUE ...``, which collects a dict.

    Values are written as MMEngine's ``DictAction`` takes them, but text in quotes stays as it is, and so do
    blanks within text.
    """

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        """Parse the words into ``namespace``."""
        options = dict(getattr(namespace, self.dest, None) or {})
        for word in values:
            key, found, value = word.partition('=')
            if not key or not found:
                raise argparse.ArgumentError(self, f"expected words like key=value, got '{word}'")
            try:
                options[key] = parse_value(value)
            except ValueError as error:
                raise argparse.ArgumentError(self, f'{key}: {error}') from error
        setattr(namespace, self.dest, options)


def parse_value(text: str) -> Any:
    """Parse the value of a setting.

    Args:
        text: ``3``, ``1e-3``, ``true``, ``None``, text, ``[a,b]``, ``(a,b)`` or ``a,b``; nested ones, too.
            What is in quotes is text, whatever it looks like: ``'2024'``, ``"a,b"``.

    Returns:
        The value.

    Raises:
        ValueError: If brackets or quotes of a list do not match.
    """
    text = text.strip()
    if len(text) > 1 and text[0] in _QUOTES and text.find(text[0], 1) == len(text) - 1:
        return text[1:-1]
    parts = list(split_values(text))
    if len(parts) > 1:
        return [parse_value(part) for part in parts]
    if text and _CLOSING.get(text[0]) == text[-1] and _matches(text):
        parts = list(split_values(text[1:-1]))
        values = [parse_value(part) for part in (parts if parts[-1].strip() else parts[:-1])]
        return tuple(values) if text[0] == '(' else values
    return _plain(text)


def _plain(text: str) -> Any:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            pass
    return None if text == 'None' else _NAMES.get(text.lower(), text)


def _matches(text: str) -> bool:
    """Tell whether the bracket at the beginning is closed by the one at the end."""
    return all(depth > 0 for _, depth in list(_depths(text))[:-1])


def split_values(text: str) -> Iterator[str]:
    """Split at commas that are in no brackets and no quotes.

    Args:
        text: ``1,[2,3]``.

    Yields:
        The parts, as they are written: ``1`` and ``[2,3]``.

    Raises:
        ValueError: If brackets or quotes do not match.
    """
    if ',' not in text:
        yield text
        return
    start, depth = 0, 0
    for place, depth in _depths(text):
        if depth == 0 and text[place] == ',':
            yield text[start:place]
            start = place + 1
    if depth:
        raise ValueError(f'expected brackets and quotes that match, got {text!r}')
    yield text[start:]


def _depths(text: str) -> Iterator[tuple[int, int]]:
    """Yield every place with the number of brackets and quotes that are open behind it."""
    closing: list[str] = []
    for place, character in enumerate(text):
        quoted = bool(closing) and closing[-1] in _QUOTES
        if closing and character == closing[-1]:
            closing.pop()
        elif not quoted and character in _CLOSING:
            closing.append(_CLOSING[character])
        elif not quoted and character in _QUOTES and (place == 0 or text[place - 1] in ' ,[('):
            closing.append(character)
        yield place, len(closing)


def add_cfg_options(parser: argparse.ArgumentParser) -> None:
    """Add the option that changes settings of a config.

    Args:
        parser: Parser to extend.
    """
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=ConfigOptionsAction,
        metavar='KEY=VALUE',
        help='settings of the config to change, as in train_dataloader.batch_size=32 or key=[a,b]; quotes '
        'keep text as it is: "key=\'2024\'"; the other options win over them',
    )
