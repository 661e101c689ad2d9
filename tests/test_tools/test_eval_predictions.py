"""Saved predictions, evaluated again: the numbers of the test to the last digit, and what is refused."""

import importlib.util
import json
import pickle
import sys

from wsol_mm.evaluation.metrics import DumpPredictions, LocalizationMetric, PixelAveragePrecision
from wsol_mm.evaluation.protocols import PRESETS
from wsol_mm.registry import MODELS
from wsol_mm.utils.safe_pickle import read_pickle

import mmengine
import pytest
import torch
from mmengine.config import Config
from mmengine.evaluator import Evaluator
from mmengine.logging import MMLogger

NUM_CLASSES = 6
SAT_CONFIG = """
_base_ = 'micro config.py'
model = dict(
    backbone=dict(type='SpatialTokenTransformer', masked_layers=1),
    head=dict(_delete_=True, type='SATHead', num_classes=3, in_channels=16),
)
crop = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=(36, 36)),
    dict(type='CenterCrop', crop_size=32),
    dict(type='PackLocalizationInputs'),
]
test_dataloader = dict(dataset=dict(pipeline=crop))
test_evaluator = dict(protocols=['sat', 'maxboxacc_v2', dict(name='lctr', alias='low', thresholds=[0.05])])
"""


@pytest.fixture(scope='module')
def tool(repo_dir):
    path = repo_dir / 'tools' / 'analysis_tools' / 'eval_predictions.py'
    spec = importlib.util.spec_from_file_location('eval_predictions', path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def evaluate(tool, tmp_path, monkeypatch):
    """Run the tool in this process; return its metrics."""

    def run(*arguments) -> dict:
        out = tmp_path / 'new folder' / 'metrics.json'
        monkeypatch.setattr(sys, 'argv', ['eval_predictions.py', *map(str, arguments), '--out', str(out)])
        tool.main()
        return json.loads(out.read_text())

    return run


def random_samples(agnostic: bool, masks: bool = False, count: int = 14) -> list[dict]:
    """Predictions as a test hands them to the metrics, in batches of seven that share memory."""
    generator = torch.Generator().manual_seed(3)
    samples = []
    for start in range(0, count, 7):
        scores = torch.rand(7, NUM_CLASSES, generator=generator).softmax(dim=1)
        best = scores.topk(5, dim=1).indices
        labels = torch.randint(NUM_CLASSES, (7, 1), generator=generator)
        wanted = torch.full((7, 1), -1) if agnostic else torch.cat((labels, best), dim=1)
        maps = torch.rand(7, wanted.shape[1], 5, 5, generator=generator)
        for i in range(7):
            sample = dict(
                img_path=f'{start + i}.jpg',
                ori_shape=(60, 80),
                img_shape=(224, 224),
                scale_factor=(2.8, 224 / 60),
                gt_label=labels[i],
                gt_bboxes=torch.tensor([[5.0, 6, 60, 50], [1, 1, 30, 59]]).numpy(),
                pred_score=scores[i],
                pred_label=best[i, :1],
                pred_topk=best[i],
                loc_maps=maps[i],
                loc_labels=wanted[i],
            )
            if masks:
                sample['gt_mask'] = torch.randint(2, (224, 224), generator=generator).byte().numpy()
            samples.append(sample)
    return samples


@pytest.mark.parametrize('agnostic', [False, True])
@pytest.mark.parametrize('tuned_on', ['cub', 'ilsvrc'])
def test_numbers_of_every_protocol_are_those_of_the_test(evaluate, tmp_path, agnostic, tuned_on):
    protocols = list(PRESETS)
    file = tmp_path / 'predictions.pkl'
    evaluator = Evaluator([LocalizationMetric(protocols, tuned_on), DumpPredictions(str(file))])
    expected = evaluator.offline_evaluate(random_samples(agnostic), chunk_size=7)
    evaluator.metrics[-1].write()
    assert evaluate(file, '--protocol', *protocols, '--tuned-on', tuned_on) == expected


def test_masks_are_in_the_file_and_give_pxap(evaluate, tmp_path):
    file = tmp_path / 'predictions.pkl'
    metrics = [LocalizationMetric(['maxboxacc']), PixelAveragePrecision(), DumpPredictions(str(file))]
    expected = Evaluator(metrics).offline_evaluate(random_samples(False, masks=True))
    metrics[-1].write()
    assert 0 < expected['pixel/PxAP'] < 100
    assert evaluate(file, '--protocol', 'maxboxacc') == expected


def test_a_file_holds_its_predictions_alone(tmp_path):
    """Not the memory of the whole batch that each of them is a part of."""
    file = tmp_path / 'predictions.pkl'
    dump = DumpPredictions(str(file))
    Evaluator([dump]).offline_evaluate(random_samples(False), chunk_size=7)
    assert not file.exists(), 'the metrics are known first'
    dump.write()
    for sample in read_pickle(file):
        maps = sample['loc_maps']
        assert maps.untyped_storage().nbytes() == maps.numel() * 4


def test_thresholds_on_the_command_line(evaluate, tmp_path):
    file = tmp_path / 'predictions.pkl'
    swept = dict(name='maxboxacc', thresholds=[0.3, 0.6])
    evaluator = Evaluator([LocalizationMetric([swept]), DumpPredictions(str(file))])
    expected = evaluator.offline_evaluate(random_samples(False))
    evaluator.metrics[-1].write()
    assert evaluate(file, '--protocol', 'maxboxacc', '--threshold', 0.3, 0.6) == expected
    fixed = Evaluator([LocalizationMetric([dict(name='ts_cam', thresholds=[0.4])])])
    assert evaluate(file, '--protocol', 'ts_cam', '--threshold', 0.4) == fixed.offline_evaluate(
        random_samples(False)
    )
    message = 'error: argument --threshold: protocol ts_cam: thresholds: expected one, as threshold_choice is'
    with pytest.raises(SystemExit, match=message):
        evaluate(file, '--protocol', 'ts_cam', '--threshold', 0.3, 0.6)


@pytest.mark.parametrize('method', ['ts_cam', 'sat'])
def test_numbers_are_those_of_the_test_tool(micro_project, evaluate, monkeypatch, method):
    """With the config's own protocols and settings, for a class-wise and a class-agnostic head."""
    config = micro_project.config
    if method == 'sat':
        config = micro_project.folder / 'sat config.py'
        config.write_text(SAT_CONFIG)
    torch.manual_seed(0)
    model = MODELS.build(Config.fromfile(config).model)
    checkpoint = micro_project.folder / f'{method}.pth'
    torch.save({'state_dict': model.state_dict()}, checkpoint)
    out = micro_project.folder / 'evaluated'
    result = micro_project.run(
        'test.py', config, checkpoint, '--work-dir', 'tests', '--out', out / 'm.json', out / 'p.pkl'
    )
    assert result.returncode == 0, result.stderr
    expected = mmengine.load(out / 'm.json')
    assert evaluate(out / 'p.pkl', '--config', config) == expected
    name = 'low' if method == 'sat' else 'ts_cam'
    logged: list[str] = []
    monkeypatch.setattr(MMLogger, 'warning', lambda _, text: logged.append(text))
    chosen = evaluate(out / 'p.pkl', '--config', config, '--protocol', name)
    assert chosen == {key: expected[key] for key in expected if key.startswith(('Top', f'{name}/'))}
    warned = [text for text in logged if text.startswith(f'{name} was published with the test geometry')]
    assert len(warned) == (1 if method == 'sat' else 0)


def test_annotations_against_the_test_data_of_a_config(micro_project, evaluate, tmp_path, capsys):
    boxes = (micro_project.folder / 'cub' / 'bounding_boxes.txt').read_text().splitlines()
    paths = (micro_project.folder / 'cub' / 'images.txt').read_text().splitlines()
    tests = [line.split() for line in paths][4:7]  # the first class has four training images before
    images = [dict(id=int(number), file_name=path) for number, path in tests]
    annotations = [
        dict(
            image_id=int(number),
            category_id=1,
            bbox=[float(value) for value in boxes[int(number) - 1].split()[1:]],
        )
        for number, _ in tests
    ]
    annotations[0]['bbox'][2] = 1.0
    file = tmp_path / 'annotations.json'
    content = dict(images=images, annotations=annotations, categories=[dict(id=1, name='001.Red')])
    file.write_text(json.dumps(content))
    values = evaluate('--ann', file, '--config', micro_project.config)
    assert values['images'] == 3 and values['Top-1_Cls'] == 100
    assert values['BoxAcc@0.7'] == values['Top-1_Loc@0.7'] == pytest.approx(200 / 3)
    assert f'6 of 9 test images are not in {file}: left out' in capsys.readouterr().out
    # As predict.py --labels from-folder writes them.
    file.write_text(json.dumps(content | {'info': {'labels': 'from-folder'}}))
    given = evaluate('--ann', file, '--config', micro_project.config)
    assert given == {name: value for name, value in values.items() if not name.startswith('Top-1')}
    assert 'labels of these annotations were given' in capsys.readouterr().out
    file.write_text('{')
    with pytest.raises(SystemExit, match='expected COCO annotations, got no valid JSON'):
        evaluate('--ann', file, '--config', micro_project.config)
    file.write_text('{}')
    with pytest.raises(SystemExit, match=r'annotations.json: annotations: expected COCO annotations with'):
        evaluate('--ann', file, '--config', micro_project.config)


def test_a_picture_of_how_often_each_confidence_is_right(micro_project, evaluate, tmp_path, capsys):
    names = sorted(path.name for path in (micro_project.folder / 'cub/images/001.Red').iterdir())
    content = dict(
        images=[dict(id=number, file_name=f'001.Red/{name}') for number, name in enumerate(names)],
        annotations=[
            dict(image_id=number, category_id=1, bbox=[0, 0, 5, 5], confidence=0.4)
            for number in range(len(names))
        ],
        categories=[dict(id=1, name='001.Red')],
    )
    file, picture = tmp_path / 'annotations.json', tmp_path / 'reliability.png'
    arguments = ['--ann', file, '--config', micro_project.config, '--reliability-plot', picture]
    file.write_text(json.dumps(content))
    values = evaluate(*arguments)
    assert values['Confidence_Error'] == pytest.approx(40)
    assert picture.read_bytes().startswith(b'\x89PNG')
    del content['annotations'][-1]['confidence']
    file.write_text(json.dumps(content))
    with pytest.raises(
        SystemExit, match=r'annotations.json: .* expected a confidence of every box, got none'
    ):
        evaluate(*arguments)
    with pytest.raises(SystemExit, match='2'):
        evaluate(*arguments[:-1], tmp_path / 'a.txt')
    assert 'expected a file that ends in .png, .pdf, .svg, got' in capsys.readouterr().err


def test_folder_data_without_boxes_say_where_boxes_come_from(micro_project, evaluate, tmp_path, capsys):
    config = micro_project.folder / 'folder config.py'
    root = micro_project.folder / 'cub' / 'images'
    config.write_text(
        "_base_ = 'micro config.py'\n"
        f"own = dict(_delete_=True, type='FolderDataset', data_root='{root.as_posix()}', pipeline=[])\n"
        'test_dataloader = dict(dataset=own)\n'
    )
    name = min(path.name for path in (root / '001.Red').iterdir())
    content = dict(
        images=[dict(id=1, file_name=f'001.Red/{name}')],
        annotations=[dict(image_id=1, category_id=1, bbox=[0, 0, 5, 5])],
        categories=[dict(id=1, name='001.Red')],
    )
    file = tmp_path / 'annotations.json'
    file.write_text(json.dumps(content))
    values = evaluate('--ann', file, '--config', config)
    assert values['Top-1_Cls'] == 100 and not any(name.startswith('BoxAcc') for name in values)
    printed = capsys.readouterr().out
    assert f'Warning: no ground-truth boxes in the test data of {config}, so no BoxAcc' in printed
    assert '; test_dataloader.dataset.box_source names them' in printed


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        (b'nothing', r'expected a file of predictions, as `tools/test.py .*, got another file \(.*\)'),
        (pickle.dumps({}), 'expected a list of predictions, as `tools/test.py .*, got another dict'),
        (pickle.dumps([]), 'expected a list of predictions, .*, got another list'),
        (
            pickle.dumps([dict(img_path='a.jpg', gt_label=1, pred_topk=2)]),
            'image a.jpg: expected loc_maps, loc_labels, got .*localization head',
        ),
    ],
    ids=['no pickle', 'dict', 'empty', 'classifier'],
)
def test_files_that_are_no_predictions(evaluate, tmp_path, content, message):
    file = tmp_path / 'predictions.pkl'
    file.write_bytes(content)
    with pytest.raises(SystemExit, match=message):
        evaluate(file, '--protocol', 'ts_cam')


def test_unknown_protocols_and_masks_of_another_frame(evaluate, tmp_path):
    file = tmp_path / 'predictions.pkl'
    samples = random_samples(False, masks=True)
    file.write_bytes(pickle.dumps(samples))
    with pytest.raises(SystemExit, match="error: protocols: expected names of .*'maxboxacc'.*, got 'cam'"):
        evaluate(file, '--protocol', 'cam')
    for sample in samples:
        sample['gt_mask'] = sample['gt_mask'][:100]
    file.write_bytes(pickle.dumps(samples))
    with pytest.raises(
        SystemExit, match='gt_mask: expected 224x224 .*, the frame of protocol .*, got 224x100'
    ):
        evaluate(file, '--protocol', 'maxboxacc')


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        ([], 'expected one of PREDICTIONS.pkl, --maps PATH and --ann FILE, got none'),
        (['p.pkl', '--ann', 'a.json'], "and --ann FILE, got ['predictions', 'ann']"),
        (['p.pkl'], 'expected --protocol NAME ... or --config CONFIG, got neither'),
        (['--ann', 'a.json'], 'argument --config: expected beside --ann'),
        (['--ann', 'a.json', '--config', 'CONFIG', '--protocol', 'sat'], 'annotations are boxes already'),
        (['no.pkl'], 'argument PREDICTIONS.pkl: expected a file of predictions, as `tools/test.py'),
        (['.'], "writes them, got the folder '.'"),
        (
            ['--ann', 'voc'],
            "writes them, got the folder 'voc'",
        ),
        (
            ['--ann', 'b.json'],
            'argument --ann: expected a file of COCO annotations (.json), as `tools/predict',
        ),
        (
            ['p.pkl', '--protocol', 'sat', '--threshold', '2'],
            '--threshold: expected a number in [0, 1), got 2.0',
        ),
        (
            ['p.pkl', '--protocol', 'scm', '--threshold', '0.3', '0.2'],
            '--threshold: expected ascending numbers, got [0.3,',
        ),
        (
            ['p.pkl', '--protocol', 'sat', '--out', 'p.pkl/m.json'],
            "--out: expected a path that can be written, got 'p.pkl/m.json': 'p.pkl'",
        ),
    ],
)
def test_arguments_that_do_not_fit(tool, micro_project, tmp_path, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'voc').mkdir()
    for name in ('p.pkl', 'a.json'):
        (tmp_path / name).touch()
    arguments = [str(micro_project.config) if one == 'CONFIG' else one for one in arguments]
    with pytest.raises(SystemExit):
        tool.parse_arguments(arguments)
    assert message in capsys.readouterr().err
