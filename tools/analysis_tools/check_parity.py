"""Check this library against outputs of the reference implementations: ``tests.parity`` on PATHs."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.parity.command import main  # noqa: E402

if __name__ == '__main__':
    sys.exit(main())
