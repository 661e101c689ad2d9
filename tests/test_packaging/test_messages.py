"""Errors have the one form of docs/architecture.md: <argument or file>: expected <accepted>, got <found>."""

import ast
import re

import pytest

FOLDERS = ('wsol_mm', 'tools', 'benchmarks', 'demo', 'docs')
FORM = re.compile(r'\bexpected\b.*\bgot\b', re.DOTALL)
#: Raised within what reads a file, for the caller that completes the sentence: expected ..., got <this>.
PARTS = ('UnpicklingError', 'ParseError', 'LookupError', 'BadZipFile')


def messages(tree: ast.AST):
    """Yield every error that is raised, or given to a parser, with a text of its own."""
    # What is raised in a `try` is caught there, and is a part of the message.
    caught = {
        id(node)
        for block in ast.walk(tree)
        if isinstance(block, ast.Try) and block.handlers
        for statement in block.body
        for node in ast.walk(statement)
    }
    for node in ast.walk(tree):
        call = node.exc if isinstance(node, ast.Raise) else node
        if not isinstance(call, ast.Call) or id(node) in caught:
            continue
        name = ast.unparse(call.func)
        if not isinstance(node, ast.Raise) and name not in ('parser.error', 'sys.exit'):
            continue
        inner = [part for argument in call.args for part in ast.walk(argument)]
        text = ' '.join(
            part.value for part in inner if isinstance(part, ast.Constant) and isinstance(part.value, str)
        )
        # An error, or a list of them, that is passed on says it itself.
        passed_on = any(isinstance(part, ast.Name) and part.id in ('error', 'message') for part in inner)
        if re.search('[a-z]{3}', text) and not passed_on and name.rpartition('.')[2] not in PARTS:
            yield node.lineno, text


@pytest.mark.parametrize('folder', FOLDERS)
def test_errors_say_what_was_expected_and_what_was_found(repo_dir, folder):
    others = [
        f'{path.relative_to(repo_dir)}:{line}: {text}'
        for path in sorted((repo_dir / folder).rglob('*.py'))
        if '.mim' not in path.parts
        for line, text in messages(ast.parse(path.read_text(encoding='utf-8')))
        if not FORM.search(text)
    ]
    assert not others, '\n'.join(others)


def test_the_library_speaks_of_arguments_not_of_options(repo_dir):
    """``--options`` belong to tools and to ``wsol_mm.cli``; docstrings may say where a value comes from."""
    others = []
    for path in sorted((repo_dir / 'wsol_mm').rglob('*.py')):
        if {'.mim', 'cli'} & set(path.parts):
            continue
        tree = ast.parse(path.read_text(encoding='utf-8'))
        bodies = [
            node.body for node in ast.walk(tree) if hasattr(node, 'body') and isinstance(node.body, list)
        ]
        docstrings = {id(body[0].value) for body in bodies if body and isinstance(body[0], ast.Expr)}
        others += [
            f'{path.relative_to(repo_dir)}:{node.lineno}: {node.value}'
            for node in ast.walk(tree)
            if isinstance(node, ast.Constant)
            and isinstance(node.value, str)
            and id(node) not in docstrings
            and re.search(r'(?<!\S)--[a-z]', node.value)
        ]
    assert not others, '\n'.join(others)
