"""Options of tools that serve a page."""

from argparse import ArgumentParser

from .argument_types import integer_within, output_file


def add_server_options(parser: ArgumentParser, port: int) -> None:
    """Add ``--host``, ``--port`` and ``--token-file``: where a page is served, and to whom.

    Args:
        parser: To which the options are added.
        port: The port if none is given.
    """
    parser.add_argument(
        '--host',
        default='127.0.0.1',
        help='address to listen on (default: 127.0.0.1, this machine only; others need the token in the '
        'address that is printed)',
    )
    parser.add_argument('--port', type=integer_within(0, 65535), default=port, help=f'0: a free one ({port})')
    parser.add_argument(
        '--token-file',
        type=output_file,
        metavar='FILE',
        help='where the token is kept, made if missing (default: a new one at each start)',
    )
