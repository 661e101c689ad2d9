"""The promise of the README: the quickstart localizes, from image labels alone."""

import json
import os
import subprocess
import sys
import time

import pytest


@pytest.mark.slow
def test_quickstart_localizes_and_is_not_done_twice(repo_dir, tmp_path):
    work_dir = tmp_path / 'work dir'
    command = ['bash', str(repo_dir / 'tools' / 'quickstart.sh'), '--work-dir', str(work_dir)]
    environment = {**os.environ, 'VIRTUAL_ENV': sys.prefix}

    def run():
        start = time.monotonic()
        done = subprocess.run(
            command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=True
        )
        return done.stdout, time.monotonic() - start

    first, _ = run()
    metrics = json.loads((work_dir / 'metrics.json').read_text())
    baseline = json.loads((work_dir / 'baseline.json').read_text())
    assert metrics['maxboxacc/MaxBoxAcc'] >= 80
    assert baseline['BoxAcc'] < 40
    assert str(work_dir / 'contact_sheet.png') in first
    assert (work_dir / 'contact_sheet.png').stat().st_size > 100_000
    second, seconds = run()
    assert seconds < 20
    assert second.splitlines()[-8:] == first.splitlines()[-8:]
    assert json.loads((work_dir / 'metrics.json').read_text()) == metrics
