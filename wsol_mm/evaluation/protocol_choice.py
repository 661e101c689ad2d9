"""Choosing the protocols of a config by their names."""

from collections.abc import Sequence

from mmengine.config import Config

from .protocols import PRESETS, get_protocol


def use_protocols(cfg: Config, protocols: list[str]) -> None:
    """Choose the protocols of the localization metrics of the test.

    Args:
        cfg: Runner config; changed in place.
        protocols: Names, each of entries of the metric's own ``protocols``, which are kept with their
            settings, or else of a preset.

    Raises:
        ValueError: If a protocol is unknown, or the config tests with no localization metric.
    """
    metrics = _test_metrics(cfg)
    localization = [metric for metric in metrics if metric['type'].split('.')[-1] == 'LocalizationMetric']
    if not localization:
        found = ', '.join(metric['type'] for metric in metrics) or 'no metric'
        raise ValueError(
            f'protocols: expected a LocalizationMetric in test_evaluator to evaluate them, got {found}'
        )
    for metric in localization:
        chosen = []
        for name in protocols:
            entries = find_protocols(metric.get('protocols', []), name)
            chosen += [entry for entry in entries if entry not in chosen]
        metric['protocols'] = chosen


def use_thresholds(cfg: Config, thresholds: Sequence[float]) -> None:
    """Give all protocols of the test other thresholds.

    Args:
        cfg: Runner config; changed in place.
        thresholds: The thresholds, ascending.

    Raises:
        ValueError: If a protocol does not take them.
    """
    for metric in _test_metrics(cfg):
        if 'protocols' in metric:
            metric['protocols'] = [_with_thresholds(entry, thresholds) for entry in metric['protocols']]


def _with_thresholds(entry: str | dict, thresholds: Sequence[float]) -> dict:
    settings = {**(dict(name=entry) if isinstance(entry, str) else entry), 'thresholds': thresholds}
    try:
        get_protocol(**settings)
    except ValueError as error:
        raise ValueError(f'protocol {settings.get("alias", settings["name"])}: {error}') from error
    return settings


def _test_metrics(cfg: Config) -> list[dict]:
    evaluators = cfg.get('test_evaluator') or []
    return [evaluators] if isinstance(evaluators, dict) else evaluators


def find_protocols(entries: list[str | dict], name: str) -> list[str | dict]:
    """Find what a name stands for.

    Args:
        entries: ``protocols`` of a metric.
        name: An alias in the entries, the name of entries (which several may share, under different aliases),
            or the name of a preset.

    Returns:
        One or more entries, as they are; otherwise the name of the preset.

    Raises:
        ValueError: If there is neither.
    """
    settings = [dict(name=entry) if isinstance(entry, str) else entry for entry in entries]
    for names in (
        [setting.get('alias', setting.get('name')) for setting in settings],
        [setting.get('name') for setting in settings],
    ):
        if name in names:
            return [entry for entry, own in zip(entries, names, strict=True) if own == name]
    if name not in PRESETS:
        own = [setting['alias'] for setting in settings if 'alias' in setting]
        raise ValueError(f'protocols: expected names of {(*own, *PRESETS)}, got {name!r}')
    return [name]
