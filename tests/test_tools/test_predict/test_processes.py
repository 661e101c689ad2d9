"""Several processes under torchrun, of which some are killed."""

import os
import signal
import subprocess
import time
from pathlib import Path

from wsol_mm.apis.prediction_shards import merge_shards

import pytest

from ..conftest import free_port
from .test_resuming import Prediction, assert_same_files


class Processes(Prediction):
    """tools/dist_predict.sh with two processes, of which the second can be killed once it has come so far."""

    def __init__(self, project, checkpoint, folder, out, *options):
        super().__init__(project, checkpoint, folder, out, *options)
        python, tool, *arguments = self.command
        script = Path(tool).with_name('dist_predict.sh')
        self.command = ['bash', str(script), *arguments[:3], '2', *arguments[3:]]
        self.environment |= {'PYTHON': python, 'PORT': str(free_port())}

    def batches_done(self) -> int:
        file = Path(f'{self.out}.shards') / '2-of-2' / 'batches.jsonl'
        return file.read_bytes().count(b'\n') if file.is_file() else 0

    def finish_killed(self, targets: list[int]) -> tuple[int, str, list[int]]:
        """Kill -9 the second process when so many batches are in its journal; return how many there were."""
        process, killed = self.start(), []
        for target in targets:
            while self.batches_done() < target:
                assert process.poll() is None, process.communicate()[0]
                time.sleep(0.0005)
            # The launcher starts the processes in the order of their ranks.
            os.kill(self.children(process)[1], signal.SIGKILL)
            killed.append(self.batches_done())
        printed = process.communicate()[0]
        return process.returncode, printed, killed

    def children(self, process: subprocess.Popen) -> list[int]:
        file = Path(f'/proc/{process.pid}/task/{process.pid}/children')
        return sorted(
            child
            for child in map(int, file.read_text().split())
            if b'predict.py' in Path(f'/proc/{child}/cmdline').read_bytes()
        )


pytestmark = pytest.mark.skipif(
    not Path(f'/proc/self/task/{os.getpid()}/children').exists(), reason='needs /proc to find processes'
)


def test_a_process_that_is_killed_starts_again(
    micro_project, checkpoint, photos, tmp_path, predict, one_thread
):
    options = ['--batch-size', 1, '--num-workers', 0]
    two = Processes(micro_project, checkpoint, photos, tmp_path / 'two' / 'a.json', *options)
    status, printed, (killed,) = two.finish_killed([2])
    assert status == 0 and 2 <= killed < 20, printed
    assert '36 boxes in 36 images' in printed and 'shard 2 of 2' in printed
    assert predict('--out', tmp_path / 'single' / 'a.json', *options)[0] == 3
    assert_same_files(tmp_path / 'two', tmp_path / 'single')


def test_processes_that_come_too_late(predict, tmp_path, monkeypatch):
    """torchrun starts all processes again when one dies, also after the annotations are there."""
    out = tmp_path / 'a.json'
    for name, value in (('RANK', 0), ('WORLD_SIZE', 1), ('LOCAL_RANK', 0)):
        monkeypatch.setenv(name, str(value))
    status, printed = predict('--out', out, '--launcher', 'pytorch')
    assert status == 0 and '36 boxes in 36 images' in printed and '4 images cannot be used' in printed
    assert sorted(path.name for path in tmp_path.iterdir()) == ['a.json', 'a.json.broken.txt']
    assert 'expected a path that does not exist' in predict('--out', out, '--launcher', 'pytorch')[0]
    monkeypatch.setenv('TORCHELASTIC_RESTART_COUNT', '1')
    assert predict('--out', out, '--launcher', 'pytorch') == (0, '')
    assert 'not allowed with argument' in predict('--out', out, '--launcher', 'pytorch', '--shard', '1/1')[1]


@pytest.mark.slow
def test_two_thousand_photographs_killed_three_times(
    micro_project, checkpoint, shared_dir, tmp_path, predict, one_thread
):
    photographs = sorted((shared_dir / 'data' / 'ilsvrc10').rglob('*.JPEG'))[:200]
    assert len(photographs) == 200
    folder = tmp_path / 'photos'
    folder.mkdir()
    for number in range(2000):
        content = photographs[number % 200].read_bytes()
        (folder / f'{number:04d}.jpg').write_bytes(content if number % 100 else content[:500])
    options = ['--batch-size', 8, '--num-workers', 1]
    single = Prediction(micro_project, checkpoint, folder, tmp_path / 'single' / 'a.json', *options)
    assert single.finish()[0] == 3
    two = Processes(micro_project, checkpoint, folder, tmp_path / 'two' / 'a.json', *options)
    status, printed, killed = two.finish_killed([20, 60, 100])
    print('killed after', killed, 'of 125 batches')
    assert status == 0 and len(set(killed)) == 3, printed
    assert '1980 boxes in 1980 images' in printed
    assert_same_files(tmp_path / 'two', tmp_path / 'single')
    for count in (1, 2, 3, 7):
        out = tmp_path / f'of {count}' / 'a.json'
        for number in range(1, count + 1):
            assert predict('--out', out, *options, '--shard', f'{number}/{count}', folder=folder)[0] == 3
        assert merge_shards(out).num_boxes == 1980
        assert_same_files(out.parent, tmp_path / 'single')
