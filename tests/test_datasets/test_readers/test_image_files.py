from wsol_mm.datasets.readers.image_files import list_images


def test_list_images(tmp_path):
    for name in ('b.JPG', 'a/z.png', 'a/.hidden.png', '.dir/x.png', 'a/readme.md', 'a/deep/y.tiff'):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert list_images(tmp_path) == (['a/deep/y.tiff', 'a/z.png', 'b.JPG'], 1)
    assert list_images(tmp_path, recursive=False) == (['b.JPG'], 0)
