"""MkDocs hook: sections of the navigation that list files are filled from the files.

A method appears under *Methods* with its README, a specification under *Specifications*; neither is listed
by hand.
"""

import sys
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig

# MkDocs takes this back when the hook is loaded.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from generate_tables import read_methods  # noqa: E402


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Add the pages to their sections.

    Args:
        config: Configuration of the site, with the sections *Methods* and *Specifications* in ``nav``.

    Returns:
        The same, its navigation complete.
    """
    root = Path(config.config_file_path).parent
    sections = {name: pages for section in config.nav for name, pages in section.items()}
    sections['Methods'] += [{method.name: method.collection['README']} for method in read_methods(root)]
    listed = sections['Specifications']
    found = {path.relative_to(config.docs_dir).as_posix() for path in root.glob('docs/specifications/*.md')}
    listed += sorted(found.difference(listed))
    return config
