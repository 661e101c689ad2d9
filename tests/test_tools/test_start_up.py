"""Every tool answers --help, and an error in its arguments, before it imports what does the work."""

import json
import os
import resource
import subprocess
import sys

from tests.conftest import REPO_DIR

import pytest

TOOLS = sorted(
    path.relative_to(REPO_DIR).as_posix()
    for path in (REPO_DIR / 'tools').rglob('*.py')
    if path.name != 'check_parity.py' and "if __name__ == '__main__'" in path.read_text(encoding='utf-8')
)
#: Seconds of CPU, of this process and the system for it.
LIMIT = 1.0
#: Runs a tool, and tells afterwards what it has imported.
RUN = """
import json, runpy, sys
sys.argv = sys.argv[1:]
sys.path.insert(0, sys.argv[0].rpartition('/')[0])
try:
    runpy.run_path(sys.argv[0], run_name='__main__')
finally:
    print(json.dumps([name for name in ('torch', 'torchvision', 'mmpretrain') if name in sys.modules]))
"""


@pytest.mark.parametrize(('option', 'status'), [('--help', 0), ('--no-such-option', 2)])
@pytest.mark.parametrize('tool', TOOLS)
def test_answers_at_once(tool, option, status):
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    result = subprocess.run(
        [sys.executable, '-c', RUN, tool, option],
        cwd=REPO_DIR,
        env=os.environ | dict(PYTHONPATH=str(REPO_DIR)),
        capture_output=True,
        text=True,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert result.returncode == status, result.stderr
    said = result.stdout if status == 0 else result.stderr
    assert said.startswith('usage: ') if status == 0 else said.count('\n') == 1 and 'error: ' in said
    assert json.loads(result.stdout.splitlines()[-1]) == []
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    assert spent < LIMIT
