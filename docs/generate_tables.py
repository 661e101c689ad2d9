"""Write the tables of methods and results, and model-index.yml, from the metafiles.

Run ``python docs/generate_tables.py``. A document holds a table between ``<!-- generated: NAME -->`` and
``<!-- generated: end -->``. With ``--check`` nothing is written; the exit status is 1 if a file is not up to
date. A test holds all of them up to date.
"""

import argparse
import posixpath
import re
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

import yaml

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = ('README.md', 'README.zh-CN.md', 'docs/**/*.md', 'configs/*/README.md')
INDEX = 'model-index.yml'
BLOCK = re.compile(r'(<!-- generated: (?!end)([\w-]+) -->\n).*?(<!-- generated: end -->)', re.DOTALL)
#: Columns of the tables of results, and what the metafiles call them.
METRICS = {
    'Top-1 Loc': 'Top 1 Localization (published)',
    'Top-5 Loc': 'Top 5 Localization (published)',
    'GT-known Loc': 'GT-known Localization (published)',
    'Top-1 Cls': 'Top 1 Accuracy (published)',
    'Top-5 Cls': 'Top 5 Accuracy (published)',
    'MaxBoxAccV2': 'MaxBoxAccV2 (published)',
    'PxAP': 'PxAP (published)',
}


class Method(NamedTuple):
    """A method, as its metafile describes it.

    Attributes:
        folder: Folder of its configs, relative to the repository.
        collection: Entry of the metafile under ``Collections``.
        models: Entries under ``Models``.
    """

    folder: str
    collection: dict
    models: list[dict]

    @property
    def name(self) -> str:
        """Name in tables and in the navigation of the site."""
        return self.collection['Name']

    @property
    def year(self) -> str:
        """Year of publication, which orders the methods."""
        return self.collection['Metadata']['Venue'].rpartition(' ')[2]


def read_methods(root: Path) -> list[Method]:
    """Read the metafiles of all methods, ordered by year and name."""
    methods = []
    for path in root.glob('configs/*/metafile.yml'):
        # The base loader leaves numbers as they are written: 58.20 is not 58.2.
        content = yaml.load(path.read_text(encoding='utf-8'), Loader=yaml.BaseLoader)
        (collection,) = content['Collections']
        methods.append(Method(path.parent.relative_to(root).as_posix(), collection, content['Models']))
    return sorted(methods, key=lambda method: (method.year, method.name))


def table(header: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Return a Markdown table."""
    rows = [list(header), *map(list, rows)]
    rows.insert(1, ['---'] * len(rows[0]))
    return ''.join('|' + ''.join(f' {cell} |' if cell else ' |' for cell in row) + '\n' for row in rows)


def published(model: dict) -> dict:
    """Return the metrics that a model's entry in the metafile states."""
    return next((result['Metrics'] for result in model.get('Results', [])), {})


def methods_table(methods: list[Method], link: Callable[[str], str], header: Iterable[str]) -> str:
    """Return the table of methods: name, paper, venue, and which backbones and data sets have configs."""
    rows = []
    for method in methods:
        parts = [model['Name'].split('_') for model in method.models]
        paper = method.collection['Paper']
        rows.append(
            [
                f'[{method.name}]({link(method.folder + "/README.md")})',
                f'[{paper["Title"]}]({paper["URL"]})',
                method.collection['Metadata']['Venue'],
                *(', '.join(dict.fromkeys(f'`{part[place]}`' for part in parts)) for place in (1, 2)),
            ]
        )
    return table(header, rows)


def computation_table(methods: list[Method], link: Callable[[str], str]) -> str:
    """Return the table of what each method trains with and makes its maps of."""
    columns = ('Losses', 'Logits', 'Localization Map')
    rows = [
        [
            f'[{method.name}]({link(method.folder + "/README.md")})',
            *(method.collection['Metadata'][column] for column in columns),
        ]
        for method in methods
    ]
    return table(('method', 'losses', 'logits', 'localization map of class c'), rows)


def results_table(method: Method) -> str:
    """Return the published results of one method's configs, in the columns that it states."""
    models = [model for model in method.models if published(model)]
    stated = {metric for model in models for metric in published(model)}
    columns = [name for name, metric in METRICS.items() if metric in stated]
    rows = [
        [
            f'[{model["Name"]}]({model["Name"]}.py)',
            model['Results'][0]['Dataset'],
            *(published(model).get(METRICS[column], '') for column in columns),
            model.get('Metadata', {}).get('Recipe', 'published'),
        ]
        for model in models
    ]
    return table(('config', 'data set', *columns, 'recipe'), rows)


def recipes_table(methods: list[Method]) -> str:
    """Return how each published recipe is run, and what it is published with."""
    columns = ('Top-1 Loc', 'Top-5 Loc', 'GT-known Loc', 'PxAP')
    rows = []
    for method in methods:
        models = [model for model in method.models if 'Training Resources' in model.get('Metadata', {})]
        for model in models:
            recipe = model['Metadata']
            gpus = int(recipe['Training Resources'].split()[0])
            amp = ' --amp' if 'Automatic mixed precision' in recipe.get('Training Techniques', []) else ''
            rows.append(
                [
                    method.name,
                    model['Results'][0]['Dataset'],
                    f'{gpus} x {int(recipe["Batch Size"]) // gpus}',
                    recipe['Epochs'],
                    f'`bash tools/dist_train.sh {model["Config"]} {gpus}{amp}`',
                    *(published(model).get(METRICS[column], '-') for column in columns),
                ]
            )
    return table(('method', 'data set', 'GPUs x batch', 'epochs', 'command', *columns), rows)


def fill(document: str, text: str, methods: list[Method]) -> str:
    """Return a document with its tables made anew.

    Args:
        document: Path relative to the repository.
        text: What it holds.
        methods: All methods.

    Raises:
        KeyError: If the document asks for a table that does not exist.
    """
    folder = posixpath.dirname(document)
    own = next((method for method in methods if method.folder == folder), None)

    def link(path: str) -> str:
        return posixpath.relpath(path, folder or '.')

    header = ('method', 'paper', 'published in', 'backbones', 'data sets')
    chinese = ('方法', '论文', '发表于', '骨干网络', '数据集')
    tables = {
        'methods': lambda: methods_table(methods, link, header),
        'methods-zh': lambda: methods_table(methods, link, chinese),
        'computation': lambda: computation_table(methods, link),
        'results': lambda: results_table(own),
        'recipes': lambda: recipes_table(methods),
    }

    def replace(match: re.Match) -> str:
        if match[2] not in tables:
            raise KeyError(f'{document}: expected a table of {sorted(tables)}, got {match[2]!r}')
        return f'{match[1]}\n{tables[match[2]]()}\n{match[3]}'

    return BLOCK.sub(replace, text)


def generated(root: Path) -> dict[Path, str]:
    """Return what every document with a table, and the model index, should hold."""
    methods = read_methods(root)
    files = {}
    for pattern in DOCUMENTS:
        for path in sorted(root.glob(pattern)):
            text = path.read_text(encoding='utf-8')
            if BLOCK.search(text):
                files[path] = fill(path.relative_to(root).as_posix(), text, methods)
    metafiles = ''.join(f'  - {method.folder}/metafile.yml\n' for method in methods)
    files[root / INDEX] = f'# Generated by docs/generate_tables.py.\nImport:\n{metafiles}'
    return files


def main(root: Path, check: bool) -> int:
    """Write the files that are not up to date, or only name them.

    Args:
        root: The repository.
        check: Whether to write nothing.

    Returns:
        Exit status: 1 if ``check`` found a file that is not up to date.
    """
    stale = [
        (path, text)
        for path, text in generated(root).items()
        if not path.exists() or path.read_text(encoding='utf-8') != text
    ]
    for path, text in stale:
        print(f'{path.relative_to(root)}: {"not up to date" if check else "written"}')
        if not check:
            path.write_text(text, encoding='utf-8')
    if check and stale:
        print('run: python docs/generate_tables.py')
    return int(check and bool(stale))


if __name__ == '__main__':
    parser = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
    parser.add_argument(
        '--check', action='store_true', help='write nothing, say which files are not up to date'
    )
    sys.exit(main(ROOT, parser.parse_args().check))
