"""Links between documents, configs and code lead somewhere."""

import re

import pytest

PLACEHOLDER = re.compile(r'\b[A-Z]+_(TABLE|TIME)\b')
LINK = re.compile(r'\]\(([^)#\s]+)')
MENTION = re.compile(r'\b(docs/[\w./-]+\.md|configs/[\w./-]+\.(?:py|md|yml)|tools/[\w./-]+\.(?:py|sh))')


def documents(repo_dir):
    folders = [*repo_dir.glob('*.md'), *repo_dir.glob('docs/**/*.md'), *repo_dir.glob('configs/**/*.md')]
    assert len(folders) > 4
    return folders


def test_relative_links_exist(repo_dir):
    for document in documents(repo_dir):
        for target in LINK.findall(document.read_text()):
            if '://' not in target:
                assert (document.parent / target).exists(), f'{document.name}: {target}'


def test_no_placeholders(repo_dir):
    for document in documents(repo_dir):
        assert not PLACEHOLDER.search(document.read_text()), document


@pytest.mark.parametrize('pattern', ['*.md', 'docs/**/*.md', 'configs/**/*', 'wsol_mm/**/*.py', 'tools/**/*'])
def test_mentioned_files_exist(repo_dir, pattern):
    for file in repo_dir.glob(pattern):
        if file.suffix not in ('.md', '.py', '.sh', '.yml') or '.mim' in file.parts:
            continue
        for mention in MENTION.findall(file.read_text()):
            if 'my_' in mention or 'my-' in mention:
                continue  # the guide to a method of one's own
            assert (repo_dir / mention).exists(), f'{file.relative_to(repo_dir)}: {mention}'
