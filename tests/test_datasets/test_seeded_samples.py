"""Tests of wsol_mm.datasets.seeded_samples; resumed trainings test what is random."""

import subprocess
import sys

ENDS_WITH_WORKERS = """
import wsol_mm
from wsol_mm.datasets.seeded_samples import SeededSamples
from torch.utils.data import DataLoader

loader = DataLoader(SeededSamples([1, 2, 3], 0), num_workers=1, persistent_workers=True)
iterator = iter(loader)
print(next(iterator).item())
"""


def test_workers_do_not_outlive_the_process_that_made_them(repo_dir):
    command = [sys.executable, '-W', 'ignore', '-c', ENDS_WITH_WORKERS]
    process = subprocess.run(command, cwd=repo_dir, capture_output=True, text=True, timeout=60)
    assert (process.returncode, process.stderr) == (0, '')
    assert process.stdout.endswith('1\n')
