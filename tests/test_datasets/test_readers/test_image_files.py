"""Image files: listing, odd blocks of meta data, other formats and depths, transparency."""

import io
import itertools
import struct
import warnings

from wsol_mm.datasets.checks.image_files import decode_failure, inspect_image
from wsol_mm.datasets.dataset_problems import UnreadableImage
from wsol_mm.datasets.readers.image_files import (
    doubt_about_pixels,
    exif_orientation,
    list_images,
    open_image,
    rgb_image,
    upright,
)

import numpy as np
import pytest
from PIL import Image


def test_list_images(tmp_path):
    for name in ('b.JPG', 'a/z.png', 'a/.hidden.png', '.dir/x.png', 'a/readme.md', 'a/deep/y.tiff'):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert list_images(tmp_path) == (['a/deep/y.tiff', 'a/z.png', 'b.JPG'], 1)
    assert list_images(tmp_path, recursive=False) == (['b.JPG'], 0)


def encoded(image, kind, **options):
    with io.BytesIO() as stream:
        image.save(stream, kind, **options)
        return stream.getvalue()


def with_block(kind, block):
    """A wide red image with a block of EXIF, of whatever content."""
    image = Image.new('RGB', (60, 40), (200, 30, 30))
    if kind == 'JPEG':
        plain = encoded(image, kind)
        return plain[:2] + b'\xff\xe1' + struct.pack('>H', len(block) + 8) + b'Exif\0\0' + block + plain[2:]
    return encoded(image, kind, exif=b'Exif\0\0' + block)


def tiff_block(*entries):
    """Entries of tag, type, count and 4 bytes of value or place."""
    content = b''.join(struct.pack('<HHI', *entry[:3]) + entry[3] for entry in entries)
    return b'II*\0\x08\0\0\0' + struct.pack('<H', len(entries)) + content + bytes(4)


SHORT_6 = (0x112, 3, 1, b'\6\0\0\0')
TAGS = (0x11A, 0x11B, 0x128, 0x132, 0x213, 0x8769, 0x8825, 0xA005, 0x10E, 0x131, 0x13B, 0x9C9B, 0x501B)
ODD_TAGS = [
    (tag, kind, count, value)
    for tag, kind, count in itertools.product(TAGS, range(14), (0, 1, 2, 65535))
    for value in (b'72\0\0',)
]


def test_odd_tags_beside_the_orientation(tmp_path):
    """Every tag as every type: the image is used, and turned as its orientation says."""
    path = tmp_path / 'a.jpg'
    for odd in ODD_TAGS:
        path.write_bytes(with_block('JPEG', tiff_block(SHORT_6, odd)))
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')
            assert inspect_image(path, apply_exif=True) == (40, 60), odd
            with open_image(path) as image:
                assert upright(image).size == (40, 60), odd


BLOCKS = {
    'empty': b'',
    'no TIFF': b'no block of TIFF at all',
    'cut off': tiff_block(SHORT_6)[:12],
    'no end': b'II*\0\xff\xff\xff\x7f',
    'orientation as text': tiff_block((0x112, 2, 4, b'6\0\0\0')),
    'orientation 0': tiff_block((0x112, 3, 1, b'\0\0\0\0')),
    'orientation 9': tiff_block((0x112, 3, 1, b'\x09\0\0\0')),
    'orientation as a fraction by 0': tiff_block((0x112, 5, 1, b'\0\0\0\0')),
}


@pytest.mark.parametrize('kind', ['JPEG', 'PNG', 'WEBP'])
@pytest.mark.parametrize('name', BLOCKS)
@pytest.mark.filterwarnings('ignore')
def test_a_block_that_cannot_be_read_turns_nothing(tmp_path, kind, name):
    path = tmp_path / 'a.img'
    path.write_bytes(with_block(kind, BLOCKS[name]))
    assert inspect_image(path, apply_exif=True) == inspect_image(path) == (60, 40)
    assert decode_failure(path) is None
    with open_image(path) as image:
        assert exif_orientation(image) == 1
        assert np.asarray(rgb_image(upright(image)))[20, 30, 0] > 190


@pytest.mark.parametrize('orientation', range(1, 9))
def test_orientations_are_those_of_viewers(tmp_path, orientation):
    """Equal to Pillow's own, where it works."""
    from PIL import ImageOps

    pixels = np.random.default_rng(0).integers(0, 255, (4, 6, 3), np.uint8)
    exif = Image.Exif()
    exif[0x112] = orientation
    for name in ('a.png', 'a.tif'):
        Image.fromarray(pixels).save(tmp_path / name, exif=exif)
        with Image.open(tmp_path / name) as image, open_image(tmp_path / name) as ours:
            expected = np.asarray(ImageOps.exif_transpose(image))
            assert np.array_equal(np.asarray(upright(ours)), expected)


EPS = b'%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n%%EOF\n'


def test_formats_that_are_not_listed_are_not_decoded(tmp_path):
    others = {'eps': EPS}
    for kind in ('ICO', 'TGA', 'PCX', 'SGI', 'JPEG2000', 'PDF'):
        others[kind] = encoded(Image.new('RGB', (32, 32)), kind)
    for name, content in others.items():
        path = tmp_path / f'{name}.png'
        path.write_bytes(content)
        assert decode_failure(path).startswith(
            'UnidentifiedImageError: empty, or in none of the formats JPEG'
        )
    for kind in ('GIF', 'PNG', 'BMP', 'WEBP', 'TIFF', 'PPM', 'JPEG', 'MPO'):
        (tmp_path / 'b.jpg').write_bytes(encoded(Image.new('RGB', (32, 32)), kind))
        assert decode_failure(tmp_path / 'b.jpg') is None, kind


@pytest.mark.parametrize('kind', ['TIFF', 'GIF', 'PNG', 'WEBP', 'MPO'])
def test_of_several_pages_the_first(tmp_path, kind):
    first, *others = (Image.new('RGB', (32, 32), (level, level, level)) for level in (200, 0, 90))
    path = tmp_path / 'a.jpg'
    path.write_bytes(encoded(first, kind, save_all=True, append_images=others))
    with Image.open(path) as image:
        assert image.n_frames == 3
    with open_image(path) as image:
        np.testing.assert_allclose(np.asarray(rgb_image(image)), np.full((32, 32, 3), 200), atol=2)


def test_a_decompression_bomb_is_a_broken_image(tmp_path, monkeypatch):
    path = tmp_path / 'a.png'
    Image.new('1', (30, 10)).save(path)
    monkeypatch.setattr(Image, 'MAX_IMAGE_PIXELS', 149)  # Pillow's own limit is twice that
    assert '(300 pixels) exceeds limit of 298 pixels' in decode_failure(path)
    with pytest.raises(UnreadableImage, match='a.png: .*exceeds limit'), open_image(path):
        pass


def test_whatever_a_decoder_raises_is_of_the_image(tmp_path, monkeypatch):
    Image.new('RGB', (5, 5)).save(tmp_path / 'a.png')
    for error in (TypeError('a'), AttributeError('b'), IndexError('c'), RecursionError('d'), MemoryError()):

        def load(self, error=error):
            raise error

        monkeypatch.setattr('PIL.ImageFile.ImageFile.load', load)
        with pytest.raises(UnreadableImage, match=type(error).__name__), open_image(tmp_path / 'a.png'):
            pass


def test_twelve_bits_in_sixteen():
    """Grey values to 65535 are as before; others are said to be dark, and brightened on demand."""
    levels = np.array([[0, 40, 200, 255]], np.uint16)
    full, twelve, eight = (Image.fromarray(levels * factor) for factor in (257, 16, 1))
    assert np.asarray(rgb_image(full))[0, :, 0].tolist() == [0, 40, 200, 255]
    assert doubt_about_pixels(full) is None
    for dark, largest, white in ((twelve, 4080, 4095), (eight, 255, 255)):
        assert f'expected grey values to 65535 in an image of 16 bits, got at most {largest}' in (
            doubt_about_pixels(dark)
        )
        assert doubt_about_pixels(dark, white=white) is None
        assert np.asarray(rgb_image(dark, white=white))[0, :, 0].tolist() == [0, 40, 200, 255]
    assert np.asarray(rgb_image(full, white=4095))[0, :, 0].tolist() == [0, 255, 255, 255]
    integers = Image.fromarray(levels.astype(np.int32))
    assert 'got at most 255' in doubt_about_pixels(integers)
    assert np.asarray(rgb_image(integers, white=255))[0, 2, 0] == 200


def cut_outs():
    """Two that look alike, with hidden pixels of either colour, in every mode that knows transparency."""
    for hidden in (0, 255):
        rgba = np.full((4, 4, 4), hidden, np.uint8)
        rgba[..., 3] = 0
        rgba[1:3, 1:3] = (40, 200, 40, 255)
        yield Image.fromarray(rgba)


def test_transparency_is_said_or_put_on_a_colour(tmp_path):
    images = list(cut_outs())
    assert not np.array_equal(*(np.asarray(rgb_image(image)) for image in images))
    for image in images:
        assert 'expected an opaque image, got a transparent one' in doubt_about_pixels(image)
        assert doubt_about_pixels(image, background=(255, 255, 255)) is None
    white, again = (np.asarray(rgb_image(image, background=(255, 254, 253))) for image in images)
    assert np.array_equal(white, again)
    assert white[0, 0].tolist() == [255, 254, 253] and white[1, 1].tolist() == [40, 200, 40]
    half = Image.new('LA', (2, 2), (100, 128))
    assert np.asarray(rgb_image(half, background=(0, 0, 0)))[0, 0].tolist() == [50, 50, 50]
    palette = Image.new('P', (2, 2), 1)
    palette.putpalette([0, 0, 0, 9, 99, 9])
    palette.save(tmp_path / 'a.png', transparency=1)
    with open_image(tmp_path / 'a.png') as image:
        assert 'transparent' in doubt_about_pixels(image)
        assert np.asarray(rgb_image(image))[0, 0].tolist() == [9, 99, 9]
        assert np.asarray(rgb_image(image, background=(1, 2, 3)))[0, 0].tolist() == [1, 2, 3]
    for opaque in (
        Image.new('RGBA', (2, 2), (1, 2, 3, 255)),
        Image.new('RGB', (2, 2)),
        Image.new('1', (2, 2)),
    ):
        assert doubt_about_pixels(opaque) is None
