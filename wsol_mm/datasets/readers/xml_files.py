"""XML files in any encoding that Python knows, of bounded depth."""

import codecs
import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from xml.etree.ElementTree import Element, ParseError, TreeBuilder, XMLParser

from wsol_mm.datasets.dataset_problems import DatasetError

_DEEPEST = 100
_DECLARED = re.compile(rb'^\s*<\?xml[^>]*?encoding\s*=\s*["\']([\w.:+-]+)["\']')
# What the parser reads by itself, marks of the byte order included.
_OF_THE_PARSER = re.compile(r'utf[-_]?(8|16)', re.IGNORECASE)
# Files declare an encoding and hold characters of its extension.
_EXTENDED = {'gb2312': 'gb18030', 'gbk': 'gb18030', 'shift_jis': 'cp932', 'euc_kr': 'cp949', 'big5': 'cp950'}
# Of Python's, these are no encodings of text in files.
_OTHERS = ('idna', 'punycode', 'unicode_escape', 'raw_unicode_escape', 'undefined', 'utf-7')


class _BoundedTree(TreeBuilder):
    """Builds a tree; time and memory of what is nested a million times are out of all proportion."""

    depth = 0

    def start(self, tag: str, attrs: dict[str, str]) -> Element:
        self.depth += 1
        if self.depth > _DEEPEST:
            raise ParseError(f'elements nested more than {_DEEPEST} times')
        return super().start(tag, attrs)

    def end(self, tag: str) -> Element:
        self.depth -= 1
        return super().end(tag)


def read_xml(path: str | Path, accepted: str) -> ElementTree.Element:
    """Read an XML file.

    Args:
        path: The file.
        accepted: What is expected, for the error.

    Returns:
        The root element.

    Raises:
        DatasetError: If it is no XML, nested too deep, or in an encoding that Python does not know, with the
            file.
        FileNotFoundError: If there is no such file.
    """
    content = Path(path).read_bytes()
    parser = XMLParser(target=_BoundedTree())
    try:
        parser.feed(_decoded(content))
        return parser.close()
    except (ParseError, ValueError, LookupError) as error:
        raise DatasetError(f'{path}: expected {accepted}, got no valid XML ({error})') from error


def _decoded(content: bytes) -> str | bytes:
    """Decode what the parser does not decode by itself, as the file declares."""
    declared = _DECLARED.match(content)
    if declared is None or _OF_THE_PARSER.match(name := declared[1].decode()):
        return content
    name = codecs.lookup(name).name
    if name in _OTHERS:
        raise LookupError(f'unknown encoding: {name}')
    return content.decode(_EXTENDED.get(name, name))
