"""tools/quickstart.sh: order of the steps, what a second run skips, and what it refuses; with stand-ins."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

# Leaves the files that the real steps leave, and a line per step in calls.txt.
STAND_IN = """#!{python} -S
import os
import pathlib
import sys

arguments = sys.argv[1:]
if arguments[0] == '-c':
    exec_arguments = arguments[1:]
    sys.argv = ['-c', *exec_arguments[1:]]
    exec(exec_arguments[0])
    raise SystemExit
tool = pathlib.Path(arguments[0]).stem
with open({calls!r}, 'a') as calls:
    print(' '.join([tool, *arguments[1:]]), file=calls)
if os.environ.get('FAIL_AT') == tool:
    raise SystemExit(tool + ' broke')


def option(name):
    return pathlib.Path(arguments[arguments.index(name) + 1])


match tool:
    case 'make_embedded_shapes':
        folder = pathlib.Path(arguments[1])
        folder.mkdir(parents=True, exist_ok=True)
        (folder / 'embedded_shapes.json').write_text(str(option('--seed')))
    case 'constant_box_baseline':
        option('--out').write_text('{{"BoxAcc": 31.5}}')
    case 'train':
        print('Epoch(train)  [8][15/47]  lr: 1e-3  eta: 0:00:21  time: 0.2  loss: 1.25  accuracy_top-1: 50')
        (option('--work-dir') / 'last_checkpoint').write_text('/some where/epoch_8.pth')
    case 'test':
        names = 'maxboxacc/MaxBoxAcc maxboxacc/threshold ts_cam/GT-known_Loc ts_cam/Top-1_Loc Top-1_Cls'
        values = ', '.join(f'"{{name}}": 0.25' for name in names.split())
        option('--out').write_text('{{' + values + '}}')
    case 'contact_sheet':
        option('--out').write_text('a picture')
"""
STEPS = ['make_embedded_shapes', 'constant_box_baseline', 'train', 'test', 'contact_sheet']


class Quickstart:
    """A copy of the script and its configs in a folder with a space, among stand-ins."""

    def __init__(self, repo: Path, folder: Path) -> None:
        self.folder = folder / 'a clone'
        self.calls_file = folder / 'calls.txt'
        (self.folder / 'tools').mkdir(parents=True)
        shutil.copy(repo / 'tools' / 'quickstart.sh', self.folder / 'tools')
        shutil.copytree(repo / 'configs', self.folder / 'configs')
        python = folder / 'stand-in python'
        python.write_text(STAND_IN.format(python=sys.executable, calls=str(self.calls_file)))
        python.chmod(0o755)
        setup = self.folder / 'tools' / 'setup_env.sh'
        setup.write_text(f'echo progress >&2\necho "{python}"\n')
        self.elsewhere = folder / 'else where'
        self.elsewhere.mkdir()

    def run(self, *options: str, **environment: str) -> subprocess.CompletedProcess:
        """Run the script from another folder."""
        self.calls_file.write_text('')
        return subprocess.run(
            ['bash', str(self.folder / 'tools' / 'quickstart.sh'), *options],
            cwd=self.elsewhere,
            env=os.environ | environment,
            capture_output=True,
            text=True,
        )

    @property
    def calls(self) -> list[str]:
        """Command lines of the last run."""
        return self.calls_file.read_text().splitlines()

    @property
    def steps(self) -> list[str]:
        """Tools called by the last run."""
        return [line.split()[0] for line in self.calls]


@pytest.fixture
def quickstart(repo_dir, tmp_path) -> Quickstart:
    if ' ' in sys.executable or len(sys.executable) > 100:
        pytest.skip('a script cannot name this interpreter in its first line')
    return Quickstart(repo_dir, tmp_path)


def table(result: subprocess.CompletedProcess) -> list[str]:
    return [
        line for line in result.stdout.splitlines() if line.startswith('  ') and not line.startswith('   ')
    ]


def test_steps_in_order_then_a_second_run_skips_them(quickstart):
    first = quickstart.run()
    assert first.returncode == 0, first.stderr
    assert quickstart.steps == STEPS
    work_dir = quickstart.folder / 'work_dirs' / 'quickstart'
    assert 'epoch 8, step 15/47, loss 1.25, 0:00:21 left' in first.stdout
    assert '31.50 %' in first.stdout and str(work_dir / 'contact_sheet.png') in first.stdout
    assert 'data/embedded_shapes --seed 0' in quickstart.calls[0]
    assert 'train_dataloader.dataset.data_root=data/embedded_shapes' in quickstart.calls[2]
    assert '/some where/epoch_8.pth' in quickstart.calls[3]

    second = quickstart.run()
    assert second.returncode == 0, second.stderr
    assert quickstart.steps == ['make_embedded_shapes']  # which finds its set complete
    assert table(second) == table(first)


def test_seed_and_work_dir(quickstart):
    result = quickstart.run('--seed', '3', '--work-dir', 'my results')
    assert result.returncode == 0, result.stderr
    assert (quickstart.elsewhere / 'my results' / 'metrics.json').is_file()
    assert (quickstart.folder / 'data' / 'embedded_shapes_seed3').is_dir()
    assert '--seed 3' in quickstart.calls[2]
    # Another seed in the same folder is refused, and forced.
    other = quickstart.run('--seed', '4', '--work-dir', 'my results')
    assert other.returncode == 1 and '--force replaces it' in other.stderr
    assert quickstart.steps == ['make_embedded_shapes']
    forced = quickstart.run('--seed', '4', '--work-dir', 'my results', '--force')
    assert forced.returncode == 0, forced.stderr
    assert quickstart.steps == STEPS and '--force' in quickstart.calls[0]


def test_a_failed_step_is_reported_and_made_up_for(quickstart):
    failed = quickstart.run(FAIL_AT='train')
    assert failed.returncode == 1
    assert 'train broke' in failed.stderr and 'quickstart.log' in failed.stderr
    again = quickstart.run()
    assert again.returncode == 0, again.stderr
    assert quickstart.steps == ['make_embedded_shapes', 'train', 'test', 'contact_sheet']
    assert '--resume' in quickstart.calls[1]


def test_changed_config_is_noticed(quickstart):
    assert quickstart.run().returncode == 0
    with (quickstart.folder / 'configs' / '_base_' / 'models' / 'vit-micro.py').open('a') as file:
        file.write('\n# changed\n')
    result = quickstart.run()
    assert result.returncode == 1 and 'expected a run with' in result.stderr


def test_foreign_folder_is_left_alone(quickstart):
    mine = quickstart.elsewhere / 'mine'
    mine.mkdir()
    (mine / 'notes.txt').write_text('keep')
    for options in ([], ['--force']):
        result = quickstart.run('--work-dir', 'mine', *options)
        assert result.returncode == 1 and 'got one with other files' in result.stderr
        assert [path.name for path in mine.iterdir()] == ['notes.txt']


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (['--seed', '-1'], "--seed: expected an integer from 0 to 999999999, got '-1'"),
        (['--seed', '007'], "got '007'"),
        (['--work-dir'], '--work-dir: expected a value, got none'),
        (['--fast'], "expected the options that --help lists, got '--fast'"),
    ],
)
def test_wrong_options(quickstart, options, message):
    result = quickstart.run(*options)
    assert result.returncode == 1
    assert message in result.stderr
    assert quickstart.calls == []


def test_help_needs_nothing(quickstart):
    result = quickstart.run('--help')
    assert result.returncode == 0
    assert '--work-dir DIR' in result.stdout and 'set -euo' not in result.stdout
    assert quickstart.calls == []
