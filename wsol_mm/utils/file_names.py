"""Names of files: as text that can be printed, and as long as file systems allow."""

import os
from hashlib import sha256
from unicodedata import category

#: Bytes of the longest name of a file.
LONGEST_NAME = 255


def printable(text: str) -> str:
    """Return a file name as text; bytes that are no UTF-8, and control characters, become U+FFFD."""
    decoded = text.encode('utf-8', 'surrogateescape').decode('utf-8', 'replace')
    return ''.join('\ufffd' if category(character) in ('Cc', 'Cn') else character for character in decoded)


def fitting_name(name: str, ending: str) -> str:
    """Return the name of a file that belongs to another, such as an image, and is called after it.

    Args:
        name: Path with ``/``.
        ending: What is put behind it.

    Returns:
        Both; where file systems do not allow a name so long, its beginning and a sum of the whole, the same
        for the same name, and different for others.
    """
    folder, slash, last = name.rpartition('/')
    content = os.fsencode(last)
    room = LONGEST_NAME - len(os.fsencode(ending))
    if len(content) > room:
        mark = f'~{sha256(content).hexdigest()[:12]}'
        last = content[: room - len(mark)].decode('utf-8', 'ignore') + mark
    return f'{folder}{slash}{last}{ending}'
