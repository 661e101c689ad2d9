"""Scripts that each need an interpreter in which something has not happened yet."""

import json
import subprocess
import sys
from collections.abc import Sequence

from .conftest import REPO_DIR

_FORK = """
import json, os, sys, traceback
{before}
failed = {{}}
for script in json.load(sys.stdin):
    reader, writer = os.pipe()
    if not os.fork():
        try:
            exec(script, {{'__name__': '__main__'}})
        except BaseException:
            os.write(writer, traceback.format_exc()[-2000:].encode())
            os._exit(1)
        os._exit(0)
    os.close(writer)
    _, status = os.wait()
    if status:
        failed[script] = os.read(reader, 10000).decode() or f'status {{status}}'
    os.close(reader)
print(json.dumps(failed))
"""


def run_in_forks(before: str, scripts: Sequence[str]) -> dict[str, str]:
    """Run scripts in processes that share nothing but what is run before: imports that take seconds.

    Args:
        before: Script that is run once.
        scripts: Each is run in a process of its own, forked after the former.

    Returns:
        The end of the traceback of each script that failed.
    """
    result = subprocess.run(
        [sys.executable, '-W', 'ignore', '-c', _FORK.format(before=before)],
        input=json.dumps(list(scripts)),
        cwd=REPO_DIR,
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout.splitlines()[-1])
