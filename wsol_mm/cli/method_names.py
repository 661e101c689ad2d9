"""Names of the methods whose published checkpoints can be converted, without importing their heads."""

import ast
from pathlib import Path

_HEADS = Path(__file__).parents[1] / 'models' / 'heads'


def official_method_names() -> list[str]:
    """Return the keys of :func:`wsol_mm.models.weights.official_methods`, sorted.

    Every head says its own, in the first argument of ``OfficialCheckpoints``, and those that train the same
    networks, in ``also``. They are read from the source, as the heads take seconds to import.
    """
    calls = [
        node
        for file in _HEADS.glob('*.py')
        for node in ast.walk(ast.parse(file.read_text(encoding='utf-8')))
        if isinstance(node, ast.Call) and getattr(node.func, 'id', None) == 'OfficialCheckpoints'
    ]
    names = [ast.literal_eval(call.args[0]) for call in calls]
    for call in calls:
        names += next((ast.literal_eval(word.value) for word in call.keywords if word.arg == 'also'), ())
    return sorted(names)
