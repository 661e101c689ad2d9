"""Does something when a module is imported, so that nothing need import it early."""

import sys
from collections.abc import Callable, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType


def before_import(name: str, action: Callable[[], object]) -> None:
    """Call ``action`` just before a module is imported for the first time; never if it has been already.

    Args:
        name: Full name of the module.
        action: What to call.
    """
    if name not in sys.modules:
        sys.meta_path.insert(0, _Watcher(name, before=action))


def after_import(name: str, action: Callable[[], object]) -> None:
    """Call ``action`` as soon as a module has been imported: now, if it has been already.

    Args:
        name: Full name of the module.
        action: What to call.
    """
    if name in sys.modules:
        action()
    else:
        sys.meta_path.insert(0, _Watcher(name, after=action))


class _Watcher(MetaPathFinder):
    """Waits for one module, then goes away; the other finders find it."""

    def __init__(
        self, name: str, before: Callable[[], object] | None = None, after: Callable[[], object] | None = None
    ) -> None:
        self.name, self.before, self.after = name, before, after

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != self.name or self not in sys.meta_path:
            return None
        sys.meta_path.remove(self)
        if self.before is not None:
            self.before()
        if self.after is None:
            return None
        spec = find_spec(fullname)
        if spec is not None and spec.loader is not None:
            execute, after = spec.loader.exec_module, self.after

            def execute_and_go_on(module: ModuleType) -> None:
                execute(module)
                after()

            setattr(spec.loader, 'exec_module', execute_and_go_on)  # noqa: B010  (an instance's own)
        return spec
