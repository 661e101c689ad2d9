"""The one protocol, with one threshold, by which boxes are made for pictures and annotations."""

from dataclasses import replace

from mmengine.config import Config

from .protocols import LocalizationProtocol, get_protocol

#: What ``LocalizationVisualizationHook`` draws with unless its config names another.
DEFAULT_PROTOCOL = 'ts_cam'


def box_protocol(
    cfg: Config, protocol: str | dict | None = None, threshold: float | None = None
) -> LocalizationProtocol:
    """Choose how a map becomes one box.

    Args:
        cfg: Runner config. Its visualization hook names the protocol, and the threshold where that one
            searches its own.
        protocol: Preset, or dict of :func:`get_protocol` arguments, instead of the config's.
        threshold: Threshold in [0, 1) instead of the protocol's.

    Returns:
        The protocol, with exactly one threshold.

    Raises:
        ValueError: If the protocol is unknown, ``threshold`` is outside [0, 1), or the protocol searches its
            threshold and none is given.
    """
    hook = cfg.get('default_hooks', {}).get('visualization') or {}
    if protocol is None:
        protocol = hook.get('protocol', DEFAULT_PROTOCOL)
        threshold = hook.get('threshold') if threshold is None else threshold
    return with_one_threshold(protocol, threshold)


def with_one_threshold(protocol: str | dict, threshold: float | None = None) -> LocalizationProtocol:
    """Build a protocol with which a map becomes one box.

    Args:
        protocol: Preset, or dict of :func:`get_protocol` arguments.
        threshold: Threshold in [0, 1) instead of the protocol's.

    Returns:
        The protocol, with exactly one threshold.

    Raises:
        ValueError: As :func:`box_protocol`.
    """
    chosen = get_protocol(protocol) if isinstance(protocol, str) else get_protocol(**protocol)
    if threshold is not None:
        if not 0 <= threshold < 1:
            raise ValueError(f'threshold: expected a number in [0, 1), got {threshold}')
        return replace(chosen, thresholds=(threshold,))
    if len(chosen.thresholds) != 1:
        raise ValueError(
            f'threshold: expected a number in [0, 1) for protocol {chosen.name!r}, which has '
            f'{len(chosen.thresholds)} to search, got none'
        )
    return chosen
