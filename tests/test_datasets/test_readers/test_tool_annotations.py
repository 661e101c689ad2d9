"""What annotation tools write, and what is wrong with it."""

import json

from wsol_mm.datasets.dataset_problems import DatasetError, DatasetProblems
from wsol_mm.datasets.readers.tool_annotations import (
    is_label_studio,
    read_label_studio,
    read_labelme_json,
    read_yolo_classes,
    read_yolo_labels,
)

import pytest


def test_labelme_shapes(tmp_path):
    file = tmp_path / '1.json'
    shapes = [
        dict(label='cat', shape_type='rectangle', points=[[30, 40], [10, 5]]),  # drawn from below
        dict(label='dog', shape_type='polygon', points=[[1, 9], [4, 2], [8, 3]]),
    ]
    file.write_text(json.dumps(dict(shapes=shapes, imageWidth=64, imageHeight=None)))
    assert read_labelme_json(file) == ([[10, 5, 30, 40], [1, 2, 8, 9]], ['cat', 'dog'], None)


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        ('{', 'got no valid JSON'),
        ('[]', r'got another structure \(TypeError'),
        ('{"shapes": [{"points": [[1, 2], [3, 4]]}]}', r"another structure \(KeyError: 'label'"),
        ('{"shapes": [{"points": [[1, 2]], "label": "a"}]}', 'expected at least two points, got 1'),
        ('{"shapes": [{"points": [[1, "x"], [3, 4]], "label": "a"}]}', 'ValueError'),
    ],
)
def test_no_labelme(tmp_path, content, message):
    (tmp_path / '1.json').write_text(content)
    with pytest.raises(DatasetError, match=rf'1\.json: expected a labelme file .*{message}'):
        read_labelme_json(tmp_path / '1.json')


def test_yolo_classes(tmp_path):
    labels = tmp_path / 'labels'
    labels.mkdir()
    assert read_yolo_classes(labels) is None
    (tmp_path / 'classes.txt').write_text('cat\ndog\n')
    assert read_yolo_classes(labels) == ['cat', 'dog']
    (tmp_path / 'data.yaml').write_text('names: {1: dog, 0: bird, 10: cow}\n')
    assert read_yolo_classes(labels) == ['bird', 'dog', 'cow']
    (tmp_path / 'data.yaml').write_text('nc: 3\n')
    with pytest.raises(DatasetError, match=r'data\.yaml: expected names of classes, got none'):
        read_yolo_classes(labels)


def test_yolo_lines(tmp_path):
    file, problems = tmp_path / '1.txt', DatasetProblems('test', 'skip')
    file.write_text(
        '1 0.5 0.5 0.5 0.25 0.9\n0 0.75 0.5 0.500001 1\n2 0.5 0.5 1 1\n0 1 2\n0 0.5 0.5 x 1\n-1 0 0 1 1\n'
    )
    found = read_yolo_labels(file, ['cat', 'dog'], (200, 100), problems)
    assert found.boxes == [[50, 37.5, 150, 62.5], [pytest.approx(99.9999), 0, 200, 100]]
    assert found.labels == ['dog', 'cat'] and found.size == (200, 100)
    messages = problems.messages['line that does not parse']
    assert [message.partition(', line ')[2][0] for message in messages] == ['3', '4', '5', '6']
    assert 'expected a class from 0 to 1, got 2' in messages[0]


def task(**more):
    value = dict(x=10, y=20, width=50, height=40, rotation=0, rectanglelabels=['cat'])
    region = dict(type='rectanglelabels', original_width=200, original_height=100, value=value)
    return (
        dict(data=dict(image='/data/local-files/?d=cat/%C3%A4%20b.jpg'), predictions=[dict(result=[region])])
        | more
    )


def test_label_studio_takes_what_humans_said_last(tmp_path):
    file, problems = tmp_path / 'tasks.json', DatasetProblems('test', 'skip')

    def annotated(x, **more):
        region = dict(task()['predictions'][0]['result'][0])
        region['value'] = dict(region['value'], x=x)
        return dict(result=[region, dict(type='choices', value={})]) | more

    tasks = [
        task(),
        task(
            data=dict(photo='https://photos.example/a/1.jpg'),
            annotations=[annotated(0), annotated(25), annotated(50, was_cancelled=True)],
        ),
        task(data=dict(image='2.jpg'), annotations=[dict(result=[])]),
        dict(predictions=[]),
    ]
    turned = task(data=dict(image='3.jpg'))
    turned['predictions'][0]['result'][0]['value']['rotation'] = 30
    file.write_text(json.dumps([*tasks, turned]))
    assert is_label_studio(file)
    found = read_label_studio(file, problems)
    assert found == {
        'cat/ä b.jpg': ([[20, 20, 120, 60]], ['cat'], (200, 100)),
        '/a/1.jpg': ([[50, 20, 150, 60]], ['cat'], (200, 100)),
    }
    messages = problems.messages['task that does not parse']
    assert 'tasks[3]: expected data' in messages[0] and 'got one turned by 30 degrees' in messages[1]


def test_coco_is_not_taken_for_tasks(tmp_path):
    (tmp_path / 'coco.json').write_text('\ufeff\n {"images": []}', encoding='utf-8')
    assert not is_label_studio(tmp_path / 'coco.json')
    (tmp_path / 'coco.json').write_text('')
    assert not is_label_studio(tmp_path / 'coco.json')
