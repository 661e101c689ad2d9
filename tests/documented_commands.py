"""Commands in the documents of this repository, as a reader would type them."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

REPO_DIR = Path(__file__).resolve().parents[1]
DOCUMENTS = sorted(
    path for pattern in ('*.md', 'docs/**/*.md', 'configs/*/README.md') for path in REPO_DIR.glob(pattern)
)
BLOCK = re.compile(r'^```(\w+)\n(.*?)^```', re.MULTILINE | re.DOTALL)
INLINE = re.compile(r'`((?:python|bash) (?:tools/|-m benchmarks\.)[^`\n]+)`')
ASSIGNMENT = re.compile(r'([A-Z_]+)=(.*)')
# What a reader puts in.
PLACEHOLDERS = {
    'CONFIG': 'configs/ts_cam/ts-cam_deit-s_cub.py',
    'CHECKPOINT': 'checkpoint.pth',
    'FOLDER': 'images',
    'DATA': 'images',
    'WEIGHTS': 'weights.pth',
    'FILE': 'file.json',
    'DIR': 'folder',
    'N': '1',
}
LAUNCHERS = {
    # The tool that a launch script runs, and which of its arguments are the script's own.
    'tools/dist_train.sh': ('tools/train.py', 1),
    'tools/dist_test.sh': ('tools/test.py', 2),
    'tools/dist_predict.sh': ('tools/predict.py', 3),
}
# Commands that are no tools of this repository.
OTHERS = (
    'pip install',
    'MMCV_WITH_OPS=0 pip install',
    'python="$(bash tools/setup_env.sh',
    'python -m mkdocs',
    'mim download',
    'source .venv',
    'jupyter lab',
    'python -m pytest',
    'srun ',
    'tensorboard',
    'make ',
    '--',  # options alone, which the text adds to a command
)


def shell_lines(text: str) -> Iterator[str]:
    """Yield the commands of a document, with its shell variables put in."""
    variables = {}
    for language, code in BLOCK.findall(text):
        if language not in ('bash', 'shell', 'sh'):
            continue
        for line in code.replace('\\\n', ' ').splitlines():
            line = re.sub(r'(^|\s)#.*', '', line).strip()
            assignment = ASSIGNMENT.fullmatch(line)
            if assignment:
                variables[assignment[1]] = assignment[2].strip('"')
            elif line:
                yield re.sub(r'\$([A-Z_]+)', lambda match: variables[match[1]], line)  # noqa: B023
    for code in INLINE.findall(BLOCK.sub('', text)):
        yield re.sub(r'\$([A-Z_]+)', lambda match: variables[match[1]], code)


def all_commands() -> dict[str, str]:
    """Return every command once, with the first document that has it."""
    found: dict[str, str] = {}
    for document in DOCUMENTS:
        for command in shell_lines(document.read_text(encoding='utf-8')):
            found.setdefault(' '.join(command.split()), document.relative_to(REPO_DIR).as_posix())
    return found


COMMANDS = all_commands()


def called_file(words: list[str]) -> tuple[str, list[str]]:
    """Return the file that a command of Python or a shell runs, and its arguments."""
    if words[1] == '-m':
        return f'{words[2].replace(".", "/")}.py', words[3:]
    return words[1], words[2:]


def tool_call(command: str) -> tuple[str, list[str]] | None:
    """Return the Python tool that a command calls, directly or through a launch script, and its arguments."""
    words = shlex.split(command)
    if words[:1] == ['python']:
        file, arguments = called_file(words)
        return (file, arguments) if file.startswith(('tools/', 'benchmarks/')) else None
    if words[:1] == ['bash'] and words[1] in LAUNCHERS and len(words) > 2:
        tool, own = LAUNCHERS[words[1]]
        return tool, words[2 : 2 + own] + words[3 + own :]
    return None
