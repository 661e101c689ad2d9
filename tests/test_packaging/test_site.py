"""The documentation site: it builds without a warning and leaves nothing of the package out."""

import html
import importlib
import inspect
import pkgutil
import re
import subprocess
import sys

import wsol_mm

import pytest

# For the tools and for the start of the package, not for users to call.
NOT_IN_API = ('wsol_mm.cli', 'wsol_mm.utils')


@pytest.fixture(scope='module')
def site(repo_dir, tmp_path_factory):
    """The built site."""
    for name in ('mkdocs', 'material', 'mkdocstrings', 'l2m4m'):
        pytest.importorskip(name, reason='needs requirements/docs.txt')
    folder = tmp_path_factory.mktemp('site')
    command = [sys.executable, '-W', 'ignore', '-m', 'mkdocs', 'build', '--strict', '--site-dir', str(folder)]
    result = subprocess.run(command, cwd=repo_dir, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return folder


def test_site_has_every_document_and_readme(repo_dir, site):
    for path in (repo_dir / 'docs').rglob('*.md'):
        page = path.relative_to(repo_dir / 'docs').with_suffix('')
        assert (site / (page if page.name != 'index' else page.parent) / 'index.html').is_file(), page
    for readme in repo_dir.glob('configs/*/README.md'):
        assert (site / readme.relative_to(repo_dir).parent / 'index.html').is_file(), readme


def test_links_within_the_site_lead_somewhere(site):
    for page in site.rglob('*.html'):
        if page.name == '404.html':
            continue
        for target in re.findall(r'(?:href|src)="([^"#?]+)', page.read_text(encoding='utf-8')):
            if not re.match(r'[a-z]+:', target):
                path = (page.parent / target).resolve()
                assert path.exists(), f'{page.relative_to(site)}: {target}'


def test_no_page_asks_another_host_for_anything(site):
    for page in site.rglob('*.html'):
        loaded = re.findall(r'<(?:script|img|link)[^>]*(?:src|href)="(https?://[^"]+)"', page.read_text())
        assert not [address for address in loaded if 'canonical' not in address], page
    for sheet in site.rglob('*.css'):
        for address in re.findall(r'(?:@import\s+|url\()["\']?([^"\')]+)', sheet.read_text(encoding='utf-8')):
            inside = address.startswith('data:') or (sheet.parent / address.partition('#')[0]).exists()
            assert inside, f'{sheet.relative_to(site)}: {address[:80]}'


def test_formulas_are_mathml(site):
    page = (site / 'methods' / 'index.html').read_text(encoding='utf-8')
    assert page.count('<math') > 5 and '$' not in re.sub(r'<(code|pre)\b.*?</\1>', '', page, flags=re.DOTALL)


def test_formulas_have_a_font_of_their_own(site):
    """It is on the site, and has every character of the formulas."""
    (sheet,) = site.rglob('site.css')
    font = (sheet.parent / re.search(r"url\('([^']+woff2)'\)", sheet.read_text())[1]).resolve()
    assert font.is_file() and (font.parent / 'OFL.txt').is_file()
    assert 'stylesheets/site.css' in (site / 'methods' / 'index.html').read_text(encoding='utf-8')
    pytest.importorskip('brotli')  # with which fontTools reads this format
    characters = pytest.importorskip('fontTools.ttLib').TTFont(font)
    assert 'MATH' in characters
    used = set()
    for page in site.rglob('*.html'):
        for formula in re.findall(r'<math.*?</math>', page.read_text(encoding='utf-8'), re.DOTALL):
            used.update(html.unescape(re.sub(r'<[^>]+>|\s', '', formula)))
    assert used and used <= {chr(code) for code in characters.getBestCmap()}


def test_references_of_docstrings_are_links(site):
    links = 0
    for page in (site / 'api').rglob('*.html'):
        text = page.read_text(encoding='utf-8')
        assert not re.search(r':(?:class|func|meth|mod|data|attr|exc):(?:<code>|`)', text), page
        links += len(re.findall(r'<a class="autorefs autorefs-internal"[^>]*><code>', text))
    assert links > 100


def test_api_shows_everything_that_packages_export(repo_dir):
    text = '\n'.join(path.read_text() for path in (repo_dir / 'docs/api').glob('*.md'))
    shown = set()
    for name in re.findall(r'^::: (\S+)', text, re.MULTILINE):
        shown.update(getattr(pkgutil.resolve_name(name), '__all__', [name.rpartition('.')[2]]))
    for info in pkgutil.walk_packages(wsol_mm.__path__, 'wsol_mm.'):
        if info.ispkg and not info.name.startswith(NOT_IN_API):
            exported = {
                name
                for name, value in vars(importlib.import_module(info.name)).items()
                if name in getattr(importlib.import_module(info.name), '__all__', [])
                and not inspect.ismodule(value)
            }
            assert exported <= shown, f'{info.name}: {sorted(exported - shown)}'
