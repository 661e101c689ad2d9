"""eval_predictions.py --maps: what predict.py saved gives the numbers of the direct run."""

import csv
import json

from wsol_mm.apis.inference_pipeline import whole_image_transforms
from wsol_mm.apis.localization_inferencer import LocalizationInferencer
from wsol_mm.datasets.readers.saved_maps import SavedMaps
from wsol_mm.evaluation.functional import ImageGeometry
from wsol_mm.evaluation.map_boxes import predict_boxes
from wsol_mm.registry import DATASETS, METRICS, MODELS

import mmengine
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.dataset import default_collate
from mmengine.evaluator import Evaluator
from mmengine.registry import DefaultScope

from .conftest import CLASSES

TOOL = 'analysis_tools/eval_predictions.py'
PROTOCOLS = ['ts_cam', 'sat', 'bas', 'maxboxacc', 'maxboxacc_v2']
CROP_CONFIG = """
_base_ = 'micro config.py'
crop = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=(40, 40)),
    dict(type='CenterCrop', crop_size=32),
    dict(type='PackLocalizationInputs'),
]
test_dataloader = dict(dataset=dict(pipeline=crop))
"""
# Without a class, several maps of an image.
OBJECTS_CONFIG = """
_base_ = 'micro config.py'
head = dict(type='GraphCutHead', features='tokens', mode='maskcut', threshold=0.5, all_objects=True)
model = dict(head=dict(**head, num_classes=3, in_channels=16, _delete_=True))
"""
DATA_CONFIG = """
test_dataloader = dict(
    dataset=dict(
        type='CUB',
        data_root={root!r},
        split='test',
        test_mode=True,
        pipeline=[
            dict(type='LoadImageFromFile'),
            dict(type='Resize', scale=(32, 32)),
            dict(type='PackLocalizationInputs'),
        ],
    )
)
"""


@pytest.fixture
def evaluate(run_here, tmp_path):
    """Run the tool; give its metrics, what it prints and its exit status."""

    def run(*arguments):
        out = tmp_path / 'new' / 'metrics.json'
        try:
            printed, status = run_here(TOOL, *arguments, '--out', out), 0
        except SystemExit as stop:
            printed, status = '', stop.code
        return (json.loads(out.read_text()) if out.exists() else None), printed, status

    return run


@pytest.fixture(scope='module')
def crop_config(micro_project):
    path = micro_project.folder / 'crop config.py'
    path.write_text(CROP_CONFIG)
    return path


@pytest.fixture(scope='module')
def checkpoint(micro_project):
    path = micro_project.folder / 'maps.pth'
    save_untrained(micro_project.config, path)
    return path


def save_untrained(config, path):
    """Write a checkpoint of the model of a config as it is built."""
    torch.manual_seed(0)
    with DefaultScope.overwrite_default_scope('wsol_mm'):
        model = MODELS.build(Config.fromfile(config).model)
    torch.save({'state_dict': model.state_dict(), 'meta': {'dataset_meta': {'classes': CLASSES}}}, path)


def direct_run(config, checkpoint, whole_image):
    """The metrics of the model itself, one image at a time, and its predictions."""
    cfg = Config.fromfile(config)
    settings = cfg.test_dataloader.dataset
    if whole_image:
        settings.pipeline = whole_image_transforms(settings.pipeline)
    with DefaultScope.overwrite_default_scope('wsol_mm'):
        dataset = DATASETS.build(settings)
        metric = METRICS.build(dict(type='LocalizationMetric', protocols=PROTOCOLS))
        model = MODELS.build(cfg.model).eval()
    model.load_state_dict(torch.load(checkpoint, weights_only=True)['state_dict'])
    evaluator = Evaluator(metric)
    evaluator.dataset_meta = dataset.metainfo
    predictions = []
    for index in range(len(dataset)):
        with torch.no_grad():
            predictions += model.test_step(default_collate([dataset[index]]))
        evaluator.process(predictions[-1:])
    return evaluator.evaluate(len(dataset)), predictions


def write_scores(path, predictions):
    with path.open('w', newline='') as file:
        lines = csv.writer(file)
        lines.writerow(['image', *CLASSES])
        for sample in predictions:
            # All digits of a float32, which orders the classes as the model does.
            lines.writerow([sample.img_id, *(repr(float(score)) for score in sample.pred_score)])
    return path


@pytest.mark.parametrize('whole_image', [True, False])
def test_saved_maps_give_the_numbers_and_boxes_of_the_direct_run(
    micro_project, crop_config, checkpoint, run_here, evaluate, tmp_path, whole_image
):
    expected, predictions = direct_run(crop_config, checkpoint, whole_image)
    images, maps = micro_project.folder / 'cub' / 'images', tmp_path / 'maps'
    box_options = ['--protocol', 'ts_cam', '--threshold', '0.4', '--batch-size', '1', '--num-workers', '0']
    run_here(
        'predict.py',
        *(crop_config, checkpoint, images, '--out', tmp_path / 'boxes.json', '--save-maps', maps),
        *('--labels', 'from-folder', '--device', 'cpu', *box_options),
        *(() if whole_image else ['--test-pipeline']),
    )
    scores = write_scores(tmp_path / 'scores.csv', predictions)
    options = ['--maps', maps, '--config', crop_config, '--protocol', *PROTOCOLS, '--scores', scores]
    metrics, printed, status = evaluate(*options, '--maps-show', 'image' if whole_image else 'input')
    assert status == 0
    assert metrics == expected
    assert 0 < metrics['maxboxacc/MaxBoxAcc'] < 100
    assert 'Warning: 12 maps are of no image of the data set' in printed  # those of the training images

    # The boxes that predict.py wrote come out of its maps again.
    coco = json.loads((tmp_path / 'boxes.json').read_text())
    names = {image['id']: image['file_name'] for image in coco['images']}
    written = {names[entry['image_id']]: entry['bbox'] for entry in coco['annotations']}
    inferencer = LocalizationInferencer(
        str(crop_config), str(checkpoint), 'cpu', protocol='ts_cam', threshold=0.4, whole_image=whole_image
    )
    saved = SavedMaps(maps, [sample.img_id for sample in predictions])
    for sample in predictions:
        loc_maps, labels = saved.read(sample.img_id, 3)
        assert labels.tolist() == [int(sample.gt_label)]
        x0, y0, x1, y1 = predict_boxes(
            loc_maps[0], ImageGeometry.from_metainfo(sample.metainfo), inferencer.protocol
        )[0]
        assert written[sample.img_id] == pytest.approx([x0, y0, x1 - x0, y1 - y0], abs=0.01)


def test_saved_maps_of_several_objects_give_the_numbers_of_the_direct_run(
    micro_project, run_here, evaluate, tmp_path
):
    """Where there are several maps for all classes, the first counts here as in a test."""
    config, checkpoint = micro_project.folder / 'objects config.py', micro_project.folder / 'objects.pth'
    config.write_text(OBJECTS_CONFIG)
    save_untrained(config, checkpoint)
    expected, predictions = direct_run(config, checkpoint, whole_image=False)
    maps = tmp_path / 'maps'
    run_here(
        'predict.py',
        *(config, checkpoint, micro_project.folder / 'cub' / 'images', '--out', tmp_path / 'boxes.json'),
        *('--save-maps', maps, '--topk', '2', '--protocol', 'sat', '--device', 'cpu', '--num-workers', '0'),
    )
    scores = write_scores(tmp_path / 'scores.csv', predictions)
    options = ['--maps', maps, '--config', config, '--protocol', *PROTOCOLS, '--scores', scores]
    metrics, _, status = evaluate(*options)
    assert status == 0 and metrics == expected
    assert 0 < metrics['maxboxacc/MaxBoxAcc_agnostic'] < 100
    for sample in predictions:
        with np.load(maps / f'{sample.img_id}.npz') as saved:
            assert saved['labels'].tolist() == [-1, -1, -1]
            assert np.array_equal(saved['maps'], sample.loc_maps.numpy())


def test_maps_of_the_other_geometry_give_other_numbers(micro_project, crop_config, evaluate, tmp_path):
    """What --maps-show says is used: whole-image maps taken for the crop are elsewhere."""
    maps = tmp_path / 'maps'
    names = [line.split()[1] for line in (micro_project.folder / 'cub/images.txt').read_text().splitlines()]
    boxes = [
        [float(value) for value in line.split()[1:]]
        for line in (micro_project.folder / 'cub/bounding_boxes.txt').read_text().splitlines()
    ]
    for name, (x, y, width, height) in zip(names, boxes, strict=True):
        (maps / name).parent.mkdir(parents=True, exist_ok=True)
        grid = np.zeros((40, 48), np.uint8)
        grid[int(y) : int(y + height), int(x) : int(x + width)] = 200
        np.save(maps / f'{name}.npy', grid)
    options = ['--maps', maps, '--config', crop_config, '--protocol', 'maxboxacc_v2', '--threshold', '0.5']
    right, _, _ = evaluate(*options, '--maps-show', 'image')
    wrong, _, _ = evaluate(*options)
    assert right['maxboxacc_v2/BoxAcc@0.7_agnostic'] == 100
    assert wrong['maxboxacc_v2/BoxAcc@0.7_agnostic'] < 100


@pytest.fixture
def random_maps(micro_project, tmp_path):
    """Maps of the nine test images."""
    cfg = Config.fromfile(micro_project.config)
    with DefaultScope.overwrite_default_scope('wsol_mm'):
        dataset = DATASETS.build(cfg.test_dataloader.dataset)
    names = [dataset.get_data_info(index)['img_id'] for index in range(len(dataset))]
    rng = np.random.default_rng(0)
    for name in names:
        path = tmp_path / 'maps' / f'{name}.npy'
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, rng.random((8, 8), np.float32))
    return tmp_path / 'maps', names


def test_a_config_of_a_data_set_alone_and_the_validation_split(
    micro_project, random_maps, evaluate, tmp_path
):
    maps, _ = random_maps
    alone = tmp_path / 'data.py'
    alone.write_text(DATA_CONFIG.format(root=str(micro_project.folder / 'cub')))
    expected, _, status = evaluate('--maps', maps, '--config', micro_project.config)
    assert status == 0
    protocols = ['--protocol', 'ts_cam', 'maxboxacc']
    assert evaluate('--maps', maps, '--config', alone, *protocols)[0] == expected
    validation = evaluate('--maps', maps, '--config', micro_project.config, '--split', 'val')[0]
    assert validation == {name: value for name, value in expected.items() if name.startswith('maxboxacc/')}
    _, _, message = evaluate('--maps', maps, '--config', alone)
    assert f'{alone}: expected test_evaluator, or --protocol beside, got neither' in message
    _, _, message = evaluate('--maps', maps, '--config', alone, '--split', 'val', *protocols)
    assert f'{alone}: expected val_dataloader.dataset, got none' in message


def test_what_is_wrong_is_printed_and_told_by_the_status(
    micro_project, random_maps, run_here, capsys, tmp_path
):
    maps, names = random_maps
    (maps / f'{names[0]}.npy').unlink()
    np.save(maps / f'{names[1]}.npy', np.full((4, 4), np.nan))
    np.save(maps / 'owl.npy', np.ones((4, 4)))
    out = tmp_path / 'metrics.json'
    with pytest.raises(SystemExit) as stop:
        run_here(TOOL, '--maps', maps, '--config', micro_project.config, '--out', out)
    assert stop.value.code == 3
    assert 'maxboxacc/MaxBoxAcc_agnostic' in mmengine.load(out)
    printed = capsys.readouterr().out
    for text in (
        'Warning: 2 of 9 images count as wrong:\n',
        f'  {names[0]}: expected one map in {maps}, got none\n',
        f'  {maps}/{names[1]}.npy: expected finite numbers, got 16 that are NaN or infinite\n',
        'Warning: 1 maps are of no image of the data set:\n  owl.npy\n',
        'No --scores, so no Top-1_Cls, Top-5_Cls, ts_cam/Top-1_Loc, ts_cam/Top-5_Loc, ts_cam/error/',
    ):
        assert text in printed, text


def test_many_problems_are_counted_and_the_first_named(micro_project, random_maps, run_here, capsys):
    maps, _ = random_maps
    for number in range(13):
        np.save(maps / f'owl{number:02}.npy', np.ones((4, 4)))
    printed = run_here(TOOL, '--maps', maps, '--config', micro_project.config)
    assert '13 maps are of no image of the data set:\n  owl00.npy\n' in printed
    assert '  owl09.npy\n  ... and 3 more\n' in printed
    assert 'owl10' not in printed


def test_scores_of_other_images_are_counted(micro_project, random_maps, evaluate, tmp_path):
    maps, names = random_maps
    scores = tmp_path / 'scores.csv'
    lines = ['image,top1,top2,top3', *(f'{name},{",".join(CLASSES)}' for name in [*names, 'owl.png'])]
    scores.write_text('\n'.join(lines))
    options = ['--maps', maps, '--config', micro_project.config]
    metrics, printed, status = evaluate(*options, '--scores', scores)
    assert status == 0
    assert (metrics['Top-1_Cls'], metrics['Top-5_Cls']) == (pytest.approx(100 / 3), 100)
    assert f'Warning: 1 lines of {scores} are of no image of the data set:\n  owl.png' in printed


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['--maps', 'maps', '--ann', 'a.json'], "got ['ann', 'maps']"),
        (
            ['--maps', 'maps'],
            'argument --config: expected beside --maps, for the images and their boxes, got none',
        ),
        (['p.pkl', '--protocol', 'sat', '--scores', 's.csv'], 'argument --scores: expected beside --maps'),
        (['p.pkl', '--protocol', 'sat', '--maps-of', 'all'], 'argument --maps-of: expected beside --maps'),
        (
            ['p.pkl', '--protocol', 'sat', '--maps-show', 'image'],
            'argument --maps-show: expected beside --maps',
        ),
        (['p.pkl', '--protocol', 'sat', '--split', 'val'], 'argument --split: expected beside --config'),
    ],
)
def test_options_that_do_not_go_together(run_here, micro_project, capsys, arguments, message):
    for name in ('p.pkl', 'a.json'):
        (micro_project.folder / name).write_text('')
    with pytest.raises(SystemExit) as stop:
        run_here(TOOL, *arguments)
    assert stop.value.code == 2
    assert message in capsys.readouterr().err


def test_errors_of_maps_scores_and_protocols_are_one_line(micro_project, random_maps, evaluate, tmp_path):
    maps, names = random_maps
    config = ['--config', micro_project.config]
    (tmp_path / 'scores.csv').write_text('image,top1\n001.Red/x.png,004.Gnu\n')
    for arguments, message in (
        (['--maps', tmp_path / 'none', *config], 'expected a folder of maps or an .npz archive, got neither'),
        (
            ['--maps', maps, *config, '--scores', tmp_path / 'scores.csv'],
            f"{tmp_path / 'scores.csv'}, line 2: expected a class, got '004.Gnu'",
        ),
        (['--maps', maps, *config, '--protocol', 'cam'], "protocols: expected names of .*got 'cam'"),
        (
            ['--maps', maps, *config, '--protocol', 'lctr', '--maps-of', 'label'],
            "scores: expected the best class of every image, as protocol 'lctr' reads predicted classes",
        ),
    ):
        metrics, _, status = evaluate(*arguments)
        assert metrics is None
        assert str(status).startswith('eval_predictions.py: error: ')
        assert '\n' not in str(status)
        assert message.split('.*')[0] in status and message.split('.*')[-1] in status
