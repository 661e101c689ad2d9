"""The load test: a server in a process of its own, over loopback."""

from benchmarks.wrong_requests import image_file
from tests.test_apis.conftest import small_model  # noqa: F401

import pytest


@pytest.mark.slow
def test_load_and_wrong_requests(small_model, tmp_path, capsys):  # noqa: F811
    pytest.importorskip('fastapi')
    pytest.importorskip('httpx')
    from benchmarks import serving

    for number in range(3):
        (tmp_path / f'{number}.png').write_bytes(image_file((60 + number, 50)))
    command = [str(small_model.config), str(small_model.checkpoint), str(tmp_path)]
    assert serving.main([*command, '--clients', '1', '4', '--requests', '20']) == 0
    printed = capsys.readouterr().out
    assert '0 not refused as they must be; the same image has the same boxes: True' in printed
    assert len(printed.split('\n\n')[0].splitlines()) == 3  # a heading and two rows
