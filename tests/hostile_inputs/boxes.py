"""Boxes of one's own images: VOC, COCO, CSV."""

import json

from .cases import Cases

CASES = Cases()


def voc(old='', new='', encoding='utf-8'):
    text = (
        '<?xml version="1.0"?><annotation><object><name>cat</name><bndbox><xmin>1</xmin><ymin>2</ymin>'
        '<xmax>9</xmax><ymax>9</ymax></bndbox></object></annotation>'
    )
    return text.replace(old, new).encode(encoding)


BOXES = 'test.py FOLDER GOOD --work-dir @w --cfg-options test_dataloader.dataset.box_source=@{}'
CASES.add(
    'VOC',
    BOXES.format('xml'),
    'xml/001.Red/001.xml',
    {
        'deep': b'<a>' * 1_000_000,
        'entities': b'<!DOCTYPE a [<!ENTITY b0 "'
        + b'x' * 9999
        + b'">'
        + b''.join(b'<!ENTITY b%d "%s">' % (i, b'&b%d;' % (i - 1) * 20) for i in range(1, 10))
        + b']><a>&b9;</a>',
        'a file from outside': b'<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]><a>&b;</a>',
        'empty': b'',
        'cut': voc()[:90],
        'no XML': b'\x89PNG\r\n\x1a\n',
        'unknown encoding': voc('"1.0"', '"1.0" encoding="x-none"'),
        'no encoding of text': voc('"1.0"', '"1.0" encoding="bz2"'),
        'infinite': voc('9', 'inf'),
        'none': voc('9', 'nan'),
        'text': voc('9', 'nine'),
        'no corner': voc('<xmax>9</xmax>', ''),
        'size infinite': voc('<object>', '<size><width>inf</width><height>3</height></size><object>'),
        'size of digits': voc(
            '<object>', f'<size><width>{"9" * 5000}</width><height>3</height></size><object>'
        ),
    },
    file='xml/001.Red/001.xml',
)


def coco(**changes):
    content = dict(
        images=[{'id': 1, 'file_name': '001.Red/001.png'}],
        categories=[{'id': 1, 'name': 'cat'}],
        annotations=[{'image_id': 1, 'category_id': 1, 'bbox': [1, 2, 3, 4]}],
    )
    return json.dumps(content | changes).encode()


CASES.add(
    'COCO',
    BOXES.format('a.json'),
    'a.json',
    {
        'deep': b'[' * 1_000_000,
        'empty': b'',
        'binary': b'\xff\xfe\x00' * 9,
        'cut': coco()[:-9],
        'a number': b'3',
        'images is text': coco(images='a'),
        'images is none': coco(images=None),
        'an image is none': coco(images=[None]),
        'id is a list': coco(images=[{'id': [], 'file_name': 'a'}]),
        'width infinite': coco(images=[{'id': 1, 'file_name': 'a', 'width': float('inf'), 'height': 1}]),
        'categories is a number': coco(categories=3),
        'annotations is none': coco(annotations=None),
        'annotations is a number': coco(annotations=3),
        'an annotation is none': coco(annotations=[None]),
        'box infinite': coco(
            annotations=[{'image_id': 1, 'category_id': 1, 'bbox': [1, 2, float('inf'), 4]}]
        ),
        'box of digits': coco(annotations=[{'image_id': 1, 'category_id': 1, 'bbox': [1, 2, 10**400, 4]}]),
        'box is text': coco(annotations=[{'image_id': 1, 'category_id': 1, 'bbox': 'abcd'}]),
        'unknown image': coco(annotations=[{'image_id': 9, 'category_id': 1, 'bbox': [1, 2, 3, 4]}]),
    },
    file='a.json',
)
CASES.add(
    'CSV',
    BOXES.format('a.csv'),
    'a.csv',
    {
        'long field': b'a' * 200_000 + b',1,2,3,4\n',
        'quote without end': b'"' + b'a,1,2,3,4\n' * 30_000,
        'UTF-16': 'a,1,2,3,4\n'.encode('utf-16'),
        'infinite': b'001.Red/001.png,1,2,inf,4\n',
        'none': b'001.Red/001.png,1,2,nan,4\n',
        'digits': b'001.Red/001.png,1,2,' + b'9' * 999 + b',4\n',
        'three fields': b'001.Red/001.png,1,2\n',
        'other images': b'z.png,1,2,3,4\n',
        'empty': b'',
    },
    file='a.csv',
)
