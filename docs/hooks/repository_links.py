"""MkDocs hook: links from a page to files outside docs/ lead somewhere on the site.

Documents link as they do in a checkout, so that they can be read there. For the site, the README of every
method becomes a page, and other files that a page links to (configs, metafiles) are copied; both keep their
path in the repository, and the links are rewritten to it.
"""

import posixpath
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

_LINK = re.compile(r'(\]\()([^)#\s]+)')
_DOCS = 'docs'


def repository_path(page: str) -> str:
    """Return the path in the repository of a page of the site.

    Args:
        page: Path of the page's source, relative to the site.

    Returns:
        Path relative to the repository.
    """
    return page if page.startswith('configs/') else f'{_DOCS}/{page}'


def site_path(path: str) -> str:
    """Return where a file of the repository lies on the site; the reverse of :func:`repository_path`."""
    return path.removeprefix(f'{_DOCS}/')


def linked_files(root: Path, document: str) -> set[str]:
    """Return the files outside docs/ that a document links to.

    Args:
        root: The repository.
        document: Path of the document in the repository.

    Returns:
        Paths in the repository.
    """
    text = (root / document).read_text(encoding='utf-8')
    targets = {target for _, target in _LINK.findall(text) if '://' not in target}
    paths = {posixpath.normpath(posixpath.join(posixpath.dirname(document), target)) for target in targets}
    return {path for path in paths if not path.startswith(f'{_DOCS}/') and (root / path).is_file()}


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the READMEs of the methods and what the pages link to.

    Args:
        files: Files of docs/.
        config: Configuration of the site.

    Returns:
        The same, with the added ones.
    """
    root = Path(config.config_file_path).parent
    readmes = [path.relative_to(root).as_posix() for path in root.glob('configs/*/README.md')]
    documents = readmes + [repository_path(file.src_uri) for file in files.documentation_pages()]
    linked = {path for document in documents for path in linked_files(root, document)}
    for path in sorted(linked.union(readmes)):
        files.append(File.generated(config, path, abs_src_path=str(root / path)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, **_: object) -> str:
    """Rewrite the links of a page from paths in the repository to paths on the site.

    Links to nothing are left alone, for MkDocs to complain about.

    Args:
        markdown: Source of the page.
        page: The page.
        config: Configuration of the site.

    Returns:
        The source with links that hold on the site.
    """
    root = Path(config.config_file_path).parent
    here = page.file.src_uri
    source_folder = posixpath.dirname(repository_path(here))
    site_folder = posixpath.dirname(here) or '.'

    def rewrite(match: re.Match) -> str:
        path = posixpath.normpath(posixpath.join(source_folder, match[2]))
        if not (root / path).is_file():
            return match[0]
        return match[1] + posixpath.relpath(site_path(path), site_folder)

    return _LINK.sub(rewrite, markdown)
