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


def test_lines_are_short(repo_dir):
    """At most 120 characters; tables, the output of tools and layouts of folders may be wider."""
    for document in documents(repo_dir):
        fence = None  # the language of the block that a line is in, '' of output
        for number, line in enumerate(document.read_text(encoding='utf-8').splitlines(), 1):
            if line.lstrip().startswith('```'):
                fence = line.strip().strip('`') if fence is None else None
            long = len(line) > 120 and fence != '' and not line.startswith('|')
            assert not long, f'{document.relative_to(repo_dir)}:{number}: {len(line)} characters'


@pytest.mark.parametrize(
    'pattern', ['*.md', 'docs/**/*.md', 'configs/**/*', 'wsol_mm/**/*.py', 'tools/**/*', 'benchmarks/**/*']
)
def test_mentioned_files_exist(repo_dir, pattern):
    for file in repo_dir.glob(pattern):
        if file.suffix not in ('.md', '.py', '.sh', '.yml') or '.mim' in file.parts:
            continue
        for mention in MENTION.findall(file.read_text()):
            if 'my_' in mention or 'my-' in mention:
                continue  # the guide to a method of one's own
            assert (repo_dir / mention).exists(), f'{file.relative_to(repo_dir)}: {mention}'


def code_blocks(text):
    """Return the code of a document without comments and diagrams, which are translated."""
    blocks = re.findall(r'^```(\w+)\n(.*?)^```', text, re.MULTILINE | re.DOTALL)
    return [(language, re.sub(r'[ \t]*(?<!\S)#.*', '', code)) for language, code in blocks]


def test_readmes_have_the_same_code_links_and_sections(repo_dir):
    english, chinese = ((repo_dir / name).read_text() for name in ('README.md', 'README.zh-CN.md'))
    assert code_blocks(english) == code_blocks(chinese) and len(code_blocks(english)) > 4
    targets = [
        [link for link in LINK.findall(text) if 'README' not in link or '/' in link]
        for text in (english, chinese)
    ]
    assert targets[0] == targets[1]
    for pattern in (r'^(#+) ', r'^\|( ---)+ \|$'):
        shapes = [re.findall(pattern, text, re.MULTILINE) for text in (english, chinese)]
        assert shapes[0] == shapes[1]
    rows = [
        [line.count('|') for line in text.splitlines() if line.startswith('|')] for text in (english, chinese)
    ]
    assert rows[0] == rows[1]


def test_readmes_link_to_each_other(repo_dir):
    assert '](README.zh-CN.md)' in (repo_dir / 'README.md').read_text()
    assert '](README.md)' in (repo_dir / 'README.zh-CN.md').read_text()


def test_numbers_of_the_readmes_agree(repo_dir):
    numbers = []
    for name in ('README.md', 'README.zh-CN.md'):
        rows = [line for line in (repo_dir / name).read_text().splitlines() if line.startswith('|')]
        numbers.append([sorted(re.findall(r'\d+(?:[.,]\d+)*', row)) for row in rows])
    assert numbers[0] == numbers[1]
