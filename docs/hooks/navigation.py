"""MkDocs hook: sections of the navigation that list files are filled from the files.

A method appears under *Methods* with its README, a specification under *Specifications*; neither is listed
by hand.
"""

from pathlib import Path

import yaml
from mkdocs.config.defaults import MkDocsConfig


def method_pages(root: Path) -> list[dict[str, str]]:
    """Return the READMEs of the methods under the names of their metafiles, ordered by year and name."""
    pages = {}
    for path in root.glob('configs/*/metafile.yml'):
        (collection,) = yaml.safe_load(path.read_text(encoding='utf-8'))['Collections']
        year = collection['Metadata']['Venue'].rpartition(' ')[2]
        pages[year, collection['Name']] = collection['README']
    return [{name: readme} for (_, name), readme in sorted(pages.items())]


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Add the pages to their sections.

    Args:
        config: Configuration of the site, with the sections *Methods* and *Specifications* in ``nav``.

    Returns:
        The same, its navigation complete.
    """
    root = Path(config.config_file_path).parent
    sections = {name: pages for section in config.nav for name, pages in section.items()}
    sections['Methods'] += method_pages(root)
    listed = sections['Specifications']
    found = {path.relative_to(config.docs_dir).as_posix() for path in root.glob('docs/specifications/*.md')}
    listed += sorted(found.difference(listed))
    return config
