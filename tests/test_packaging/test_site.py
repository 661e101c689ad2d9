"""The documentation site: it builds without a warning and leaves nothing of the package out."""

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


def test_formulas_are_mathml(site):
    page = (site / 'methods' / 'index.html').read_text(encoding='utf-8')
    assert page.count('<math') > 5 and '$' not in re.sub(r'<(code|pre)\b.*?</\1>', '', page, flags=re.DOTALL)


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
