"""Sections of the specifications that docstrings, tests and documents cite exist."""

import re

import yaml

#: The one form of a citation, e.g. ``docs/specifications/ts_cam.md, section 2.3``.
CITATION = re.compile(r'docs/specifications/(\w+)\.md,\s+section\s+([A-Z]?\d+(?:\.\d+)*)')
HEADING = re.compile(r'^#+ ([A-Z]?\d+(?:\.\d+)*)\.? ', re.MULTILINE)
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
    collections = [
        yaml.safe_load(path.read_text(encoding='utf-8'))['Collections']
        for path in repo_dir.glob('configs/*/metafile.yml')
    ]
    methods = [re.escape(collection['Name']) for (collection,) in collections]
    assert 'TS\\-CAM' in methods
    # a section of a specification that is not named
    unnamed = re.compile(rf'\b(?:{"|".join(methods)}|[Ss]pecification),?\s+section\s+\d')
    for path in sources(repo_dir):
        vague = unnamed.search(path.read_text(encoding='utf-8'))
        assert vague is None, f'{path}: {vague[0]!r}; write docs/specifications/<name>.md, section ...'
