"""Annotations in other encodings, and files that would cost more than they are worth."""

import json
import time

from wsol_mm.datasets import DatasetError
from wsol_mm.datasets.dataset_problems import DatasetProblems
from wsol_mm.datasets.readers.box_annotations import read_box_csv, read_coco_json, read_voc_xml

import pytest

XML = (
    '<?xml version="1.0" encoding="{}"?><annotation><object><name>{}</name><bndbox><xmin>5</xmin>'
    '<ymin>6</ymin><xmax>50</xmax><ymax>40</ymax></bndbox></object></annotation>'
)
NAMES = {
    '日本': ('utf-8', 'utf-8-sig', 'utf-16', 'gb2312', 'GBK', 'gb18030', 'big5', 'shift_jis', 'euc-jp', 'hz'),
    '고양이': ('euc-kr', 'cp949', 'johab', 'iso2022_kr'),
    'Kätzchen': ('iso-8859-1', 'windows-1252', 'ISO-8859-15', 'cp850', 'mac-roman'),
    'кошка': ('cp1251', 'koi8-r', 'iso-8859-5', 'cp866'),
    'cat': ('ascii', 'us-ascii', 'latin-1'),
}


@pytest.mark.parametrize('name', NAMES)
def test_encodings(tmp_path, name):
    for encoding in NAMES[name]:
        path = tmp_path / f'{encoding}.xml'
        declared = 'utf-8' if encoding == 'utf-8-sig' else encoding
        path.write_bytes(XML.format(declared, name).encode(encoding))
        found = read_voc_xml(path, one_based=True)
        assert found.labels == [name] and found.boxes == [[4, 5, 50, 40]], encoding


def test_characters_beyond_the_declared_encoding(tmp_path):
    """As editors on Windows write them: of GBK in a file that says gb2312."""
    path = tmp_path / 'a.xml'
    path.write_bytes(XML.format('gb2312', '镕').encode('gbk'))
    assert read_voc_xml(path, one_based=True).labels == ['镕']


DEEP = 200_000
# Each entity is twenty of the one before: together 50 PB.
ENTITIES = b'<!DOCTYPE a [<!ENTITY b0 "' + b'x' * 100_000 + b'">'
ENTITIES += b''.join(b'<!ENTITY b%d "%s">' % (i, b'&b%d;' % (i - 1) * 20) for i in range(1, 10))
ENTITIES += b']><a>&b9;</a>'
BAD_XML = {
    'x-unknown': (XML.format('x-unknown', 'a').encode(), 'unknown encoding: x-unknown'),
    'no text': (XML.format('zlib', 'a').encode(), 'zlib'),
    'idna': (XML.format('idna', 'a').encode(), 'unknown encoding: idna'),
    'other bytes': (XML.format('euc-kr', 'é').encode('latin-1'), 'euc|cp949'),
    'deep': (b'<a>' * DEEP, 'nested more than 100 times'),
    'deep and whole': (b'<a>' * DEEP + b'</a>' * DEEP, 'nested more than 100 times'),
    'entities': (ENTITIES, 'amplification|entity'),
    'cut off': (XML.format('utf-8', 'a').encode()[:-20], 'no valid XML'),
    'empty': (b'', 'no element found'),
    'image': (b'\x89PNG\r\n\x1a\n' + bytes(100), 'no valid XML'),
    'infinite': (XML.format('utf-8', 'a').replace('50', 'inf').encode(), 'expected numbers for xmin'),
    'too large': (XML.format('utf-8', 'a').replace('50', '1e999').encode(), 'expected numbers for xmin'),
    'none': (XML.format('utf-8', 'a').replace('50', 'nan').encode(), 'expected numbers for xmin'),
}


@pytest.mark.parametrize('name', BAD_XML)
def test_xml_that_is_refused(tmp_path, name):
    content, message = BAD_XML[name]
    path = tmp_path / 'a.xml'
    path.write_bytes(content)
    started = time.monotonic()
    with pytest.raises(DatasetError, match=message) as caught:
        read_voc_xml(path, one_based=True)
    assert str(caught.value).startswith(str(path)) and '\n' not in str(caught.value)
    assert time.monotonic() - started < 5


def coco(**changes):
    content = {
        'images': [{'id': 1, 'file_name': 'a.jpg', 'width': 9, 'height': 9}],
        'categories': [{'id': 1, 'name': 'cat'}],
        'annotations': [{'image_id': 1, 'category_id': 1, 'bbox': [1, 2, 3, 4]}],
    }
    return json.dumps(content | changes)


BAD_JSON = {
    'deep': '[' * 1_000_000,
    'deep objects': '{"a":' * 100_000,
    'bytes': b'\xff\xfe\xfd',
    'list': '[]',
    'text': '"images"',
    'number': '1e999',
    'images is text': coco(images='a.jpg'),
    'image is text': coco(images=['a.jpg']),
    'image is none': coco(images=[None]),
    'id is a list': coco(images=[{'id': [], 'file_name': 'a'}]),
    'no file name': coco(images=[{'id': 1}]),
    'width infinite': coco(images=[{'id': 1, 'file_name': 'a', 'width': float('inf'), 'height': 1}]),
    'width none': coco(images=[{'id': 1, 'file_name': 'a', 'width': float('nan'), 'height': 1}]),
    'categories is a number': coco(categories=3),
    'category is text': coco(categories=['cat']),
    'digits': coco().replace('"width": 9', f'"width": {"9" * 5000}'),
}


@pytest.mark.parametrize('name', BAD_JSON)
def test_json_that_is_refused(tmp_path, name):
    content = BAD_JSON[name]
    path = tmp_path / 'a.json'
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(DatasetError, match='expected a COCO instances file') as caught:
        read_coco_json(path, DatasetProblems('test'))
    assert str(caught.value).startswith(str(path)) and '\n' not in str(caught.value)


@pytest.mark.parametrize(
    'box',
    [
        [1, 2, 3],
        'abcd',
        None,
        [1, 2, 3, float('inf')],
        [1, 2, 3, float('nan')],
        [10**400, 2, 3, 4],
        [[], 1, 2, 3],
    ],
)
def test_annotations_that_are_none(tmp_path, box):
    path = tmp_path / 'a.json'
    path.write_text(coco(annotations=[{'image_id': 1, 'category_id': 1, 'bbox': box}, 3, None]))
    problems = DatasetProblems('test')
    assert read_coco_json(path, problems) == {}
    assert problems.counts == {'annotation that does not parse': 3}


BAD_CSV = {
    'long field': ('a' * 200_000 + ',1,2,3,4\n').encode(),
    'long quoted field': ('"' + 'a\n' * 100_000 + '",1,2,3,4\n').encode(),
    'UTF-16': 'a.jpg,1,2,3,4\n'.encode('utf-16'),
}


@pytest.mark.parametrize('name', BAD_CSV)
def test_csv_that_is_refused(tmp_path, name):
    path = tmp_path / 'a.csv'
    path.write_bytes(BAD_CSV[name])
    with pytest.raises(DatasetError) as caught:
        read_box_csv(path, DatasetProblems('test'))
    assert str(caught.value).startswith(str(path)) and '\n' not in str(caught.value)
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize(
    'numbers', ['1,2,inf,4', '1,2,nan,4', '1,2,1e999,4', f'1,2,{"9" * 500},4', '1,2,,4', 'a,b']
)
def test_lines_of_csv_that_are_none(tmp_path, numbers):
    path = tmp_path / 'a.csv'
    path.write_text(f'b.jpg,1,2,3,4\na.jpg,{numbers}\n')
    problems = DatasetProblems('test')
    assert list(read_box_csv(path, problems)) == ['b.jpg']
    assert problems.counts == {'line that does not parse': 1}
