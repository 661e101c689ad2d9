"""Sections of the specifications that docstrings, tests and documents cite exist."""

import re

#: The one form of a citation, e.g. ``docs/specifications/ts_cam.md, section 2.3``.
CITATION = re.compile(r'docs/specifications/(\w+)\.md,\s+section\s+([A-Z]?\d+(?:\.\d+)*)')
HEADING = re.compile(r'^#+ ([A-Z]?\d+(?:\.\d+)*)\.? ', re.MULTILINE)
#: A section of a specification that is not named.
VAGUE = re.compile(r'\b(?:TS-CAM|SCM|SAT|LCTR|CATR|CDTR|[Ss]pecification),?\s+section\s+\d')
FOLDERS = ('wsol_mm', 'tests', 'tools', 'benchmarks', 'configs')


def sources(repo_dir):
    for folder in FOLDERS:
        yield from (path for path in (repo_dir / folder).rglob('*.py') if '.mim' not in path.parts)


def test_cited_sections_exist(repo_dir):
    sections = {
        path.stem: set(HEADING.findall(path.read_text(encoding='utf-8')))
        for path in repo_dir.glob('docs/specifications/*.md')
    }
    found = 0
    for path in sources(repo_dir):
        for specification, section in CITATION.findall(path.read_text(encoding='utf-8')):
            there = section in sections.get(specification, ())
            assert there, f'{path}: no {specification}.md, section {section}'
            found += 1
    assert found >= 24


def test_citations_name_their_file(repo_dir):
    for path in sources(repo_dir):
        vague = VAGUE.search(path.read_text(encoding='utf-8'))
        assert vague is None, f'{path}: {vague[0]!r}; write docs/specifications/<name>.md, section ...'
