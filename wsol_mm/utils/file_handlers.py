"""Make MMEngine read YAML and pickle files without executing what is in them."""

from typing import IO, Any


def register_file_handlers() -> None:
    """Replace MMEngine's handlers of YAML and pickle files.

    It applies to whatever MMEngine reads by ``mmengine.load``: configs in YAML and their bases, metafiles,
    reports and predictions.
    """
    import yaml
    from mmengine.fileio import PickleHandler, YamlHandler, register_handler

    class SafeYamlHandler(YamlHandler):
        """YAML of plain values."""

        def load_from_fileobj(self, file: IO[str], **kwargs: Any) -> Any:
            """Read an open file; a tag for an object of Python is an error."""
            try:
                return yaml.safe_load(file)
            except yaml.YAMLError as error:
                reason = ' '.join(str(error).split())
                raise ValueError(
                    f'{getattr(file, "name", "text")}: expected YAML of plain values, got other: {reason}'
                ) from error

    class SafePickleHandler(PickleHandler):
        """Pickles of numbers, texts, arrays and tensors."""

        def load_from_fileobj(self, file: IO[bytes], **kwargs: Any) -> Any:
            """Read an open file."""
            from .safe_pickle import load_pickle

            return load_pickle(file)

    register_handler(['yaml', 'yml'])(SafeYamlHandler)
    register_handler(['pickle', 'pkl'])(SafePickleHandler)
