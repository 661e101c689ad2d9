"""Tables of methods and results, and the model index, are those of the metafiles."""

import importlib.util

import pytest
from mmengine.config import Config


@pytest.fixture(scope='module')
def generator(repo_dir):
    spec = importlib.util.spec_from_file_location('generate_tables', repo_dir / 'docs' / 'generate_tables.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_file_is_up_to_date(generator, repo_dir):
    files = generator.generated(repo_dir)
    stale = [path for path, text in files.items() if path.read_text(encoding='utf-8') != text]
    assert not stale, 'run: python docs/generate_tables.py'
    names = {path.relative_to(repo_dir).as_posix() for path in files}
    assert {
        'README.md',
        'README.zh-CN.md',
        'docs/methods.md',
        'docs/reproducing.md',
        'model-index.yml',
    } <= names


def test_published_numbers_stand_in_the_readme_of_their_method(generator, repo_dir):
    for method in generator.read_methods(repo_dir):
        if any(generator.published(model) for model in method.models):
            readme = (repo_dir / method.folder / 'README.md').read_text(encoding='utf-8')
            assert '<!-- generated: results -->' in readme, method.folder


def test_check_names_what_is_not_up_to_date(generator, tmp_path, capsys):
    folder = tmp_path / 'configs' / 'mine'
    folder.mkdir(parents=True)
    (folder / 'metafile.yml').write_text(
        'Collections:\n'
        '  - {Name: Mine, Metadata: {Venue: ABC 2030}, Paper: {Title: A, URL: https://a.b}}\n'
        'Models:\n'
        '  - Name: mine_vit-t_cub\n'
        '    Results: [{Dataset: CUB, Metrics: {Top 1 Localization (published): 58.20}}]\n'
    )
    readme = folder / 'README.md'
    readme.write_text('before\n<!-- generated: results -->\nold\n<!-- generated: end -->\nafter\n')
    assert generator.main(tmp_path, check=True) == 1
    assert 'configs/mine/README.md: not up to date' in capsys.readouterr().out
    assert 'old' in readme.read_text()
    assert generator.main(tmp_path, check=False) == 0
    assert readme.read_text() == (
        'before\n<!-- generated: results -->\n\n'
        '| config | data set | Top-1 Loc | recipe |\n'
        '| --- | --- | --- | --- |\n'
        '| [mine_vit-t_cub](mine_vit-t_cub.py) | CUB | 58.20 | published |\n'
        '\n<!-- generated: end -->\nafter\n'
    )
    assert generator.main(tmp_path, check=True) == 0


def test_unknown_table_is_named(generator):
    text = '<!-- generated: result -->\n<!-- generated: end -->\n'
    with pytest.raises(KeyError, match=r"README.md: expected a table of \[.*'results'\], got 'result'"):
        generator.fill('README.md', text, [])


def test_recipes_in_metafiles_are_those_of_the_configs(generator, repo_dir):
    models = [model for method in generator.read_methods(repo_dir) for model in method.models]
    recipes = [model for model in models if 'Training Resources' in model.get('Metadata', {})]
    assert len(recipes) > 10
    for model in recipes:
        cfg, recipe = Config.fromfile(repo_dir / model['Config']), model['Metadata']
        assert cfg.train_cfg.max_epochs == int(recipe['Epochs']), model['Name']
        gpus = int(recipe['Training Resources'].split()[0])
        assert cfg.train_dataloader.batch_size * gpus == int(recipe['Batch Size']), model['Name']
