"""The option of the command line that changes settings of a config."""

import argparse

from mmengine.config import DictAction


class ConfigOptionsAction(DictAction):
    """MMEngine's action for ``KEY=VALUE ...``, with an error that names the word that is none."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: list[str],
        option_string: str | None = None,
    ) -> None:
        """Parse the words into ``namespace``."""
        for word in values:
            if not word.partition('=')[0] or '=' not in word:
                raise argparse.ArgumentError(self, f"expected words like key=value, got '{word}'")
        super().__call__(parser, namespace, values, option_string)


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
        help='settings of the config to change, as in train_dataloader.batch_size=32 or key="[a,b]"; '
        'the other options win over them',
    )
