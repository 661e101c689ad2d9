"""Compare every resolved config with a dump of an earlier state.

Example::

    python tests/config_guard.py dump configs.json     # before
    python tests/config_guard.py compare configs.json  # after: what differs, exit status 1 if anything does
"""

import json
import sys
from pathlib import Path

import wsol_mm  # noqa: F401

from mmengine.config import Config

ROOT = Path(__file__).resolve().parents[1]
#: Variables that configs are written with, pipelines above all. A runner takes the loaders' own copies of
#: them.
HELPERS = {
    *('load_image', 'train_pipeline', 'test_pipeline', 'crop_pipeline', 'ten_crop_pipeline', 'mask_pipeline'),
    *(f'{name}_{size}' for name in ('random_crop', 'squash') for size in (96, 224, 384)),
    *('squash_crop_224', 'ten_crop_224', 'short_side_crop_224_bicubic', 'short_side_crop_224_bilinear'),
    *('deit_aug_224', 'repeated_aug', 'cub_v2', 'area_loss', 'modules'),
}


def resolved_configs() -> dict[str, dict]:
    """Return what every config below ``configs/`` says."""
    paths = sorted(path for path in (ROOT / 'configs').glob('*/*.py') if path.parent.name != '_base_')
    return {
        path.relative_to(ROOT).as_posix(): json.loads(json.dumps(Config.fromfile(path).to_dict()))
        for path in paths
    }


def differences(before: object, after: object, place: str = '') -> list[str]:
    """Return the places at which two values differ."""
    if isinstance(before, dict) and isinstance(after, dict):
        keys = [*before, *(key for key in after if key not in before)]
        missing = object()
        return [
            line
            for key in keys
            for line in differences(before.get(key, missing), after.get(key, missing), f'{place}.{key}')
        ]
    if isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        pairs = enumerate(zip(before, after, strict=True))
        return [line for i, (old, new) in pairs for line in differences(old, new, f'{place}[{i}]')]
    if before == after:
        return []
    show = ['absent' if type(value) is object else repr(value) for value in (before, after)]
    return [f'{place}: {show[0]} -> {show[1]}']


def main() -> int:
    """Dump or compare; return the exit status."""
    action, path = sys.argv[1], Path(sys.argv[2])
    configs = resolved_configs()
    if action == 'dump':
        path.write_text(json.dumps(configs, indent=1))
        print(f'{len(configs)} configs')
        return 0
    before = json.loads(path.read_text())
    for config in (*before.values(), *configs.values()):
        for name in HELPERS & config.keys():
            del config[name]
    found = differences(before, configs)
    print('\n'.join(found) or f'{len(configs)} configs are equal')
    return 1 if found else 0


if __name__ == '__main__':
    sys.exit(main())
