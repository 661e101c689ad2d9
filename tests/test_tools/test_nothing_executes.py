"""Every tool that takes a file is given one that would make a file of its own, were it run."""

import os
import pickle
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch

MARKER = 'executed'


class Runs:
    """Makes a file when it is unpickled without restrictions."""

    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return os.mkdir, (str(self.marker),)


def checkpoint(path, marker):
    torch.save({'state_dict': Runs(marker)}, path)


def old_checkpoint(path, marker):
    torch.save({'state_dict': {}, 'meta': Runs(marker)}, path, _use_new_zipfile_serialization=False)


def bare_pickle(path, marker):
    path.write_bytes(pickle.dumps([Runs(marker)]))


def pickle_in_a_tensor(path, marker):
    """A pickle within a pickle: the storage of a tensor."""

    with BytesIO() as inner:
        torch.save(Runs(marker), inner, _use_new_zipfile_serialization=False)
        content = inner.getvalue()

    class Storage:
        def __reduce__(self):
            return torch.storage._load_from_bytes, (content,)

    path.write_bytes(pickle.dumps([{'loc_maps': Storage()}]))


def array_of_objects(path, marker):
    np.save(path, np.array([Runs(marker)], dtype=object), allow_pickle=True)


def archive_of_objects(path, marker):
    np.savez(path, maps=np.array([Runs(marker)], dtype=object), labels=np.zeros(1))


def yaml_apply(path, marker):
    path.write_text(f'a: !!python/object/apply:os.mkdir [{marker}]\n')


def yaml_new(path, marker):
    path.write_text(f'a: !!python/object/new:os.mkdir [{marker}]\n')


def yaml_module(path, marker):
    path.write_text(f'!!python/object/apply:subprocess.check_call [[mkdir, {marker}]]\n')


def json_text(path, marker):
    path.write_text(f'__import__("os").mkdir("{marker}")')


CHECKPOINTS = (checkpoint, old_checkpoint, bare_pickle)
PICKLES = (bare_pickle, pickle_in_a_tensor, checkpoint)
YAMLS = (yaml_apply, yaml_new, yaml_module)
# Tool, name of the file, its contents, arguments: FILE, and the config that is there, CONFIG.
CASES = [
    ('test.py', 'a.pth', CHECKPOINTS, ['CONFIG', 'FILE']),
    ('test.py', 'a.safetensors', (bare_pickle,), ['CONFIG', 'FILE']),
    ('test.py', 'a.pth', CHECKPOINTS, ['CONFIG', 'none', '--refine', 'sam=FILE']),
    ('predict.py', 'a.pth', CHECKPOINTS, ['CONFIG', 'FILE', 'images', '--out', 'out.json']),
    ('train.py', 'a.pth', CHECKPOINTS, ['CONFIG', '--resume', 'FILE']),
    ('train.py', 'a.pth', CHECKPOINTS, ['CONFIG', '--cfg-options', 'load_from=FILE']),
    ('train.py', 'a.pth', CHECKPOINTS, ['CONFIG', '--cfg-options', 'model.pretrained=FILE']),
    ('visualization/vis_localization.py', 'a.pth', CHECKPOINTS, ['CONFIG', 'FILE', '--out-dir', 'out']),
    ('visualization/contact_sheet.py', 'a.pth', CHECKPOINTS, ['CONFIG', 'FILE', '--out', 'out.png']),
    ('deployment/export_onnx.py', 'a.pth', CHECKPOINTS, ['CONFIG', 'FILE', '--out', 'out.onnx']),
    ('deployment/export_torch.py', 'a.pth', CHECKPOINTS, ['CONFIG', 'FILE', '--out', 'out.pt2']),
    ('model_converters/official_to_wsol_mm.py', 'a.pth', CHECKPOINTS, ['ts-cam', 'FILE', 'out.pth']),
    ('analysis_tools/eval_predictions.py', 'a.pkl', PICKLES, ['FILE', '--protocol', 'ts_cam']),
    (
        'analysis_tools/eval_predictions.py',
        'a.json',
        (json_text, bare_pickle),
        ['--ann', 'FILE', '--config', 'CONFIG'],
    ),
    (
        'analysis_tools/eval_predictions.py',
        'a.npz',
        (archive_of_objects, bare_pickle),
        ['--maps', 'FILE', '--config', 'CONFIG'],
    ),
    (
        'analysis_tools/eval_predictions.py',
        'maps/001.Red/001.npy',
        (array_of_objects, bare_pickle),
        ['--maps', 'maps', '--config', 'CONFIG'],
    ),
    (
        'analysis_tools/map_agreement.py',
        'maps/a.npz',
        (archive_of_objects, bare_pickle),
        ['maps', 'maps'],
    ),
    ('analysis_tools/plot_results.py', 'a.pkl', PICKLES, ['size', 'FILE', '--out', 'out.png']),
    (
        'analysis_tools/plot_results.py',
        'a.json',
        (json_text, bare_pickle),
        ['errors', 'FILE', '--out', 'out.png'],
    ),
    ('analysis_tools/analyze_logs.py', 'a.json', (json_text, bare_pickle), ['curve', 'FILE']),
    (
        'analysis_tools/compare_runs.py',
        'runs/a/vis_data/scalars.json',
        (json_text, bare_pickle),
        ['FILE'],
    ),
    ('serve.py', 'a.pth', CHECKPOINTS, ['CONFIG', 'FILE', '--threshold', '0.2']),
    ('review.py', 'a.json', (json_text, bare_pickle), ['FILE', 'images']),
    (
        'label_folder.py',
        'a.pth',
        CHECKPOINTS,
        ['images', '--config', 'trilite_vit-t-frozen_folder', '--weights', 'FILE', '--out', 'out'],
    ),
    (
        'misc/merge_predictions.py',
        'out/settings.json',
        (json_text, bare_pickle),
        ['out.json', '--shards', 'out'],
    ),
    ('train.py', 'out/train/key.json', (json_text, bare_pickle), ['CONFIG', '--features', 'out']),
    *(
        (tool, 'a.yaml', YAMLS, ['FILE', *more])
        for tool, more in {
            'train.py': [],
            'test.py': ['none'],
            'predict.py': ['none', 'images', '--out', 'out.json'],
            'serve.py': ['none'],
            'misc/print_config.py': [],
            'misc/verify_dataset.py': [],
            'misc/extract_features.py': ['--out', 'out'],
            'analysis_tools/get_flops.py': [],
            'analysis_tools/constant_box_baseline.py': [],
            'visualization/browse_dataset.py': ['--out-dir', 'out'],
            'visualization/vis_localization.py': ['none', '--out-dir', 'out'],
            'visualization/contact_sheet.py': ['none', '--out', 'out.png'],
            'deployment/export_onnx.py': ['--out', 'out.onnx'],
            'deployment/export_torch.py': ['--out', 'out.pt2'],
        }.items()
    ),
    *(
        (
            'test.py',
            name,
            contents,
            ['CONFIG', 'none', '--cfg-options', 'test_evaluator.thresholds_from=FILE'],
        )
        for name, contents in (('a.pkl', PICKLES), ('a.yaml', YAMLS), ('a.json', (json_text,)))
    ),
]


@pytest.mark.parametrize(
    ('tool', 'name', 'write', 'arguments'),
    [(tool, name, write, arguments) for tool, name, contents, arguments in CASES for write in contents],
    ids=[
        f'{Path(tool).stem}-{write.__name__}-{Path(name).suffix[1:]}-{number}'
        for number, (tool, name, contents, _) in enumerate(CASES)
        for write in contents
    ],
)
def test_a_file_is_data(run_here, micro_project, monkeypatch, tmp_path, tool, name, write, arguments):
    monkeypatch.syspath_prepend(micro_project.repo / 'tools' / Path(tool).parent)  # as the interpreter does
    path, marker = tmp_path / name, tmp_path / MARKER
    path.parent.mkdir(parents=True, exist_ok=True)
    write(path, marker)
    (tmp_path / 'images' / 'cat').mkdir(parents=True)
    (tmp_path / 'images' / 'cat' / 'a.png').symlink_to(next((micro_project.folder / 'cub').rglob('*.png')))
    replaced = {'CONFIG': str(micro_project.config), 'FILE': str(path)}
    words = [replaced.get(word, word.replace('FILE', str(path))) for word in arguments]
    words = [
        str(tmp_path / word) if word in ('images', 'maps') or word.startswith('out') else word
        for word in words
    ]
    with pytest.raises(SystemExit) as caught:
        run_here(tool, *words)
    assert not marker.exists()
    assert caught.value.code not in (0, None)
    # Of the options of the tool, none is wrong.
    assert caught.value.code != 2, tool


def test_every_tool_that_takes_a_file_is_tried(repo_dir):
    tools = {path.relative_to(repo_dir / 'tools').as_posix() for path in (repo_dir / 'tools').rglob('*.py')}
    without = {
        'dataset_converters/make_embedded_shapes.py',
        'analysis_tools/check_parity.py',  # takes our cases
        'sweep.py',  # starts train.py, with configs alone
    }
    assert tools == {tool for tool, *_ in CASES} | without


def test_the_payloads_work(tmp_path):
    """Were they run, the test above would see it."""
    for number, write in enumerate((bare_pickle, pickle_in_a_tensor)):
        marker = tmp_path / f'{MARKER}{number}'
        write(tmp_path / 'a.pkl', marker)
        pickle.loads((tmp_path / 'a.pkl').read_bytes())
        assert marker.is_dir()
    marker = tmp_path / MARKER
    checkpoint(tmp_path / 'a.pth', marker)
    torch.load(tmp_path / 'a.pth', weights_only=False)
    assert marker.is_dir()
