"""Make MMEngine read YAML, JSON and pickle files without executing what is in them, in bounded time."""

from typing import IO, Any

# A config has thousands of values; a few lines of YAML whose aliases refer to each other may mean billions.
_MOST_VALUES = 1_000_000


def register_file_handlers() -> None:
    """Replace MMEngine's handlers of YAML, JSON and pickle files.

    It applies to whatever MMEngine reads by ``mmengine.load``: configs in YAML and JSON and their bases,
    metafiles, reports and predictions.
    """
    import yaml
    from mmengine.fileio import JsonHandler, PickleHandler, YamlHandler, register_handler

    class SafeYamlHandler(YamlHandler):
        """YAML of plain values."""

        def load_from_fileobj(self, file: IO[str], **kwargs: Any) -> Any:
            """Read an open file; a tag for an object of Python is an error."""
            name = getattr(file, 'name', 'text')
            try:
                content = yaml.safe_load(file)
                count_values(content)
            except yaml.YAMLError as error:
                reason = ' '.join(str(error).split())
                raise ValueError(f'{name}: expected YAML of plain values, got other: {reason}') from error
            except RecursionError as error:
                raise ValueError(
                    f'{name}: expected YAML of plain values, got some that are nested too deep'
                ) from error
            except ValueError as error:
                raise ValueError(f'{name}: expected YAML of plain values, got other: {error}') from error
            return content

    class SafeJsonHandler(JsonHandler):
        """JSON."""

        def load_from_fileobj(self, file: IO[str], **kwargs: Any) -> Any:
            """Read an open file."""
            from .json_text import parse_json

            return parse_json(file.read(), getattr(file, 'name', 'text'))

    class SafePickleHandler(PickleHandler):
        """Pickles of numbers, texts, arrays and tensors."""

        def load_from_fileobj(self, file: IO[bytes], **kwargs: Any) -> Any:
            """Read an open file."""
            from .safe_pickle import load_pickle

            return load_pickle(file)

    register_handler(['yaml', 'yml'])(SafeYamlHandler)
    register_handler('json')(SafeJsonHandler)
    register_handler(['pickle', 'pkl'])(SafePickleHandler)


def count_values(content: Any) -> int:
    """Count the values in nested containers, those in several places as often as they are met.

    Args:
        content: Plain values.

    Returns:
        Their number.

    Raises:
        RecursionError: If they are nested too deep, as a container is that holds itself.
        ValueError: If there are more than a config can have.
    """
    known: dict[int, int] = {}

    def count(value: Any) -> int:
        if not isinstance(value, dict | list | tuple):
            return 1
        if id(value) not in known:
            inner = value.values() if isinstance(value, dict) else value
            known[id(value)] = 1 + sum(map(count, inner))
        if known[id(value)] > _MOST_VALUES:
            raise ValueError(f'expected at most {_MOST_VALUES} values, got more, by aliases')
        return known[id(value)]

    return count(content)
