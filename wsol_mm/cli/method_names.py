"""Names of the methods whose published checkpoints can be converted, without importing their heads."""

import ast
from pathlib import Path

_HEADS = Path(__file__).parents[1] / 'models' / 'heads'


def official_method_names() -> list[str]:
    """Return the keys of :func:`wsol_mm.models.weights.official_methods`, sorted.

    Every head says its own, in the argument ``method`` of ``OfficialCheckpoints``, the first, and those that
    train the same networks, in ``also``. They are read from the source, as the heads take seconds to import.
    """
    calls = [
        node
        for file in _HEADS.glob('*.py')
        for node in ast.walk(ast.parse(file.read_text(encoding='utf-8')))
        if isinstance(node, ast.Call) and getattr(node.func, 'id', None) == 'OfficialCheckpoints'
    ]
    return sorted(name for call in calls for name in _names_of(call))


def _names_of(call: ast.Call) -> list[str]:
    named = {keyword.arg: keyword.value for keyword in call.keywords}
    method = call.args[0] if call.args else named['method']
    also = ast.literal_eval(named['also']) if 'also' in named else ()
    return [ast.literal_eval(method), *also]
