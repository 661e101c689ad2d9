"""The published evaluators as data: every choice in which they differ, with named presets.

The table in ``docs/evaluation.md`` shows the presets side by side. The evaluator that runs them is
:class:`wsol_mm.evaluation.metrics.LocalizationMetric`.
"""

from dataclasses import asdict, dataclass, fields, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from .functional.boxes import GtConversion
from .functional.score_maps import Interpolation, NormalizeOrder

MapSource = Literal['label', 'predicted', 'ranked']
ThresholdChoice = Literal['fixed', 'joint', 'top1', 'each']
GeometryKind = Literal['squash', 'squash_crop', 'short_side_crop']
Report = Literal['localization', 'max_box', 'scm']

_CHOICES = {
    'map_source': ('label', 'predicted', 'ranked'),
    'dtype': ('float32', 'float64'),
    'interpolation': ('bilinear', 'bicubic', 'nearest'),
    'normalize': ('after_resize', 'before_resize', 'none'),
    'threshold_choice': ('fixed', 'joint', 'top1', 'each'),
    'region': ('polygon', 'pixels', 'pixels_4'),
    'contours': ('largest', 'all'),
    'empty_box': ('zero', 'unit', 'frame'),
    'gt_conversion': ('truncate_xywh', 'truncate', 'clipped', 'continuous', 'integer'),
    'gt_boxes': ('all', 'first', 'last'),
    'geometry': ('squash', 'squash_crop', 'short_side_crop'),
    'average': ('images', 'classes'),
    'report': ('localization', 'max_box', 'scm'),
}


@dataclass(frozen=True)
class LocalizationProtocol:
    """How a localization map becomes a box and how the box is counted.

    Attributes:
        name: Prefix of the metrics' names.
        map_source: Which class's map is used: 'label' (the ground-truth class), 'predicted' (the top-1
            class, for every metric) or 'ranked' (rank k uses the map of the k-th predicted class). A
            class-agnostic map serves all three.
        frame_size: Side of the square evaluation frame; None: the size of the network input.
        dtype: Precision of enlarging and normalising the map.
        interpolation: How the map is enlarged to the frame.
        normalize: Whether min-max comes after or before the enlargement, or, for maps that are probabilities,
            not at all.
        normalize_eps: Added to the divisor of the min-max.
        least_contrast: Difference of the largest and the smallest value below which a map counts as constant.
            Enlarging a constant one leaves rounding, which the min-max would stretch.
        quantize: Truncate the score map to 8 bits and compare ``q > int(tau * max(q))``; otherwise
            compare ``score > tau``.
        thresholds: The thresholds tau in [0, 1), ascending.
        threshold_choice: 'fixed' (one threshold), 'joint' (the first that maximises GT-known + Top-1
            Loc, for all metrics), 'top1' (the first that maximises Top-1 Loc, for all metrics) or 'each'
            (every metric takes its own best one).
        region: 'polygon' (largest ``contourArea``, OpenCV's order on ties), 'pixels' (component with most
            pixels, raster order on ties) or 'pixels_4' (the same, 4-connected, at one threshold).
        contours: 'largest' (one box) or 'all' (outer borders and holes, the best one counts).
        clip_ends: Clip the exclusive upper ends to the last pixel (W - 1, H - 1).
        empty_box: Box where nothing is above the threshold: 'zero' [0,0,0,0], 'unit' [0,0,1,1] or
            'frame' [0,0,W,H].
        gt_conversion: How ground-truth boxes get into the frame, see
            :func:`wsol_mm.evaluation.functional.gt_boxes_to_frame`.
        gt_boxes: Which boxes of an image count: 'all' (the best one), 'first' or 'last'.
        geometry: Test-time geometry that the protocol was published with. Another one works (boxes
            are mapped through the real geometry), with a warning.
        inclusive_iou: Whether the IoU counts the end pixel (the +1 convention).
        iou_levels: IoU levels at which a box counts as right (``>=``).
        strict_loc: Whether Top-1 and Top-5 Loc ask for IoU ``>`` 0.5.
        strict_known: Whether GT-known Loc does.
        average: Whether a figure is the share of all 'images', or the mean of the shares of the 'classes'
            that occur.
        report: Which metrics are made: 'localization' (GT-known, Top-1, Top-5 Loc), 'max_box'
            (MaxBoxAcc or MaxBoxAccV2) or 'scm' (the metric list of SCM's test script).
        error_breakdown: Whether to report TS-CAM's outcomes of the top-1 prediction (needs one
            threshold, one box and the label's map).

    Raises:
        ValueError: If a value is outside its choices or the combination is impossible.
    """

    name: str
    map_source: MapSource = 'label'
    frame_size: int | None = None
    dtype: str = 'float32'
    interpolation: Interpolation = 'bilinear'
    normalize: NormalizeOrder = 'after_resize'
    normalize_eps: float = 0.0
    least_contrast: float = 0.0
    quantize: bool = True
    thresholds: tuple[float, ...] = (0.2,)
    threshold_choice: ThresholdChoice = 'fixed'
    region: Literal['polygon', 'pixels', 'pixels_4'] = 'polygon'
    contours: Literal['largest', 'all'] = 'largest'
    clip_ends: bool = False
    empty_box: Literal['zero', 'unit', 'frame'] = 'unit'
    gt_conversion: GtConversion = 'truncate_xywh'
    gt_boxes: Literal['all', 'first', 'last'] = 'all'
    geometry: GeometryKind = 'squash'
    inclusive_iou: bool = True
    iou_levels: tuple[float, ...] = (0.5,)
    strict_loc: bool = False
    strict_known: bool = False
    average: Literal['images', 'classes'] = 'images'
    report: Report = 'localization'
    error_breakdown: bool = False

    def __post_init__(self) -> None:
        for field, accepted in _CHOICES.items():
            if getattr(self, field) not in accepted:
                raise ValueError(f'{field}: expected one of {accepted}, got {getattr(self, field)!r}')
        object.__setattr__(self, 'thresholds', tuple(float(t) for t in self.thresholds))
        object.__setattr__(self, 'iou_levels', tuple(float(level) for level in self.iou_levels))
        taus = np.array(self.thresholds)
        if not (taus.size and (taus >= 0).all() and (taus < 1).all() and (np.diff(taus) > 0).all()):
            raise ValueError(f'thresholds: expected ascending numbers in [0, 1), got {self.thresholds}')
        if not all(0 < level <= 1 for level in self.iou_levels) or 0.5 not in self.iou_levels:
            raise ValueError(f'iou_levels: expected numbers in (0, 1] with 0.5, got {self.iou_levels}')
        if self.threshold_choice == 'fixed' and len(taus) != 1:
            raise ValueError(f"thresholds: expected one, as threshold_choice is 'fixed', got {len(taus)}")
        if self.report != 'localization' and self.threshold_choice != 'each':
            raise ValueError(
                f"threshold_choice: expected 'each', as report is {self.report!r}, got "
                f'{self.threshold_choice!r}'
            )
        if self.normalize == 'before_resize' and self.interpolation == 'bicubic':
            raise ValueError(
                "interpolation: expected 'bilinear', as normalize is 'before_resize', got 'bicubic', which "
                'overshoots'
            )
        if self.contours == 'all' and self.region != 'polygon':
            raise ValueError(f"region: expected 'polygon', as contours is 'all', got {self.region!r}")
        if self.region == 'pixels_4' and len(taus) != 1:
            raise ValueError(f"thresholds: expected one, as region is 'pixels_4', got {len(taus)}")
        if self.normalize == 'none' and self.quantize:
            raise ValueError(
                "quantize: expected False, as normalize is 'none', got True: codes are shares of the maximum"
            )
        if self.error_breakdown and (len(taus) != 1 or self.contours == 'all' or self.map_source != 'label'):
            raise ValueError(
                "error_breakdown: expected one threshold, contours 'largest' and map_source 'label', got "
                f'{len(taus)}, {self.contours!r} and {self.map_source!r}'
            )

    @cached_property
    def taus(self) -> NDArray[np.float64]:
        """The thresholds as an array (T,)."""
        return np.array(self.thresholds)

    @cached_property
    def taus_key(self) -> bytes:
        """The thresholds as a key: unlike a tuple of a thousand numbers, bytes are hashed once."""
        return self.taus.tobytes()

    @property
    def criteria(self) -> tuple[tuple[float, bool], ...]:
        """(IoU level, strict) pairs at which boxes are counted; the strict ones come last."""
        loose = tuple((level, False) for level in self.iou_levels)
        return (*loose, (0.5, True)) if self.strict_loc or self.strict_known else loose

    @property
    def loc_criterion(self) -> int:
        """Position in ``criteria`` of the one that decides on Top-1 and Top-5 Loc."""
        return -1 if self.strict_loc else self.iou_levels.index(0.5)

    @property
    def known_criterion(self) -> int:
        """Position in ``criteria`` of the one that decides on GT-known Loc."""
        return -1 if self.strict_known else self.iou_levels.index(0.5)


def _grid(step: float) -> tuple[float, ...]:
    return tuple(np.arange(0, 1, step).tolist())


_WSOLEVALUATION: dict[str, Any] = dict(
    frame_size=224,
    dtype='float64',
    interpolation='bicubic',
    thresholds=_grid(0.001),
    threshold_choice='each',
    clip_ends=True,
    empty_box='zero',
    gt_conversion='integer',
    report='max_box',
)
_SHORT_SIDE_CROP: dict[str, Any] = dict(
    map_source='predicted', gt_conversion='continuous', geometry='short_side_crop', inclusive_iou=False
)

PRESETS: dict[str, LocalizationProtocol] = {
    protocol.name: protocol
    for protocol in (
        LocalizationProtocol('ts_cam', thresholds=(0.1,), strict_loc=True, error_breakdown=True),
        LocalizationProtocol(
            'scm',
            map_source='ranked',
            dtype='float64',
            thresholds=_grid(0.01),
            threshold_choice='each',
            clip_ends=True,
            empty_box='zero',
            iou_levels=(0.3, 0.5, 0.7),
            report='scm',
        ),
        LocalizationProtocol(
            'sat',
            normalize='before_resize',
            normalize_eps=1e-5,
            quantize=False,
            thresholds=(0.4,),
            threshold_choice='joint',
            region='pixels',
            empty_box='frame',
            gt_conversion='truncate',
            geometry='squash_crop',
            iou_levels=(0.3, 0.5, 0.7),
        ),
        LocalizationProtocol(
            'lctr', thresholds=(0.09,), empty_box='frame', gt_boxes='first', **_SHORT_SIDE_CROP
        ),
        LocalizationProtocol(
            'cdtr', normalize='before_resize', thresholds=(0.2,), gt_boxes='last', **_SHORT_SIDE_CROP
        ),
        LocalizationProtocol(
            'trilite',
            **{
                **_WSOLEVALUATION,
                'dtype': 'float32',
                'least_contrast': 1e-6,
                'thresholds': _grid(0.005),
                'iou_levels': (0.3, 0.5, 0.7),
                'report': 'localization',
            },
        ),
        LocalizationProtocol(
            'bas',
            normalize='before_resize',
            quantize=False,
            thresholds=(0.15,),
            region='pixels',
            empty_box='frame',
            gt_conversion='clipped',
            geometry='squash_crop',
            strict_loc=True,
            strict_known=True,
            average='classes',
        ),
        LocalizationProtocol(
            'found',
            interpolation='nearest',
            normalize='none',
            quantize=False,
            thresholds=(0.5,),
            region='pixels_4',
            empty_box='frame',
            gt_conversion='clipped',
            inclusive_iou=False,
        ),
        LocalizationProtocol('maxboxacc', **_WSOLEVALUATION),
        LocalizationProtocol('maxboxacc_v2', contours='all', iou_levels=(0.3, 0.5, 0.7), **_WSOLEVALUATION),
    )
}

#: Data sets on which the publications tuned their evaluators.
TUNED_ON = ('cub', 'ilsvrc')

# What differs on ILSVRC: the threshold, where a publication tunes a fixed one per data set, and the loaders
# of TS-CAM and SCM, which truncate x, y, width and height of CUB's boxes alone before they scale them.
_ILSVRC_CHANGES: dict[str, dict[str, Any]] = {
    'ts_cam': dict(thresholds=(0.12,), gt_conversion='truncate'),
    'scm': dict(gt_conversion='truncate'),
    'sat': dict(thresholds=(0.3,)),
    'lctr': dict(thresholds=(0.18,)),
    'cdtr': dict(thresholds=(0.19,)),
    'trilite': dict(contours='all'),
    'bas': dict(thresholds=(0.5,)),
}


def refuse_dataset(settings: dict[str, Any]) -> None:
    """Stop where ``tuned_on`` is given by the name that it had in older configs.

    Args:
        settings: Arguments of :func:`get_protocol` or of a metric.

    Raises:
        ValueError: If ``dataset`` is among them.
    """
    if 'dataset' in settings:
        raise ValueError(
            f'tuned_on: expected one of {TUNED_ON}, got none, but dataset={settings["dataset"]!r}: tuned_on '
            'chooses the settings that a publication tuned on that data set, whatever images are evaluated'
        )


def get_protocol(name: str, tuned_on: str = 'cub', **changes: Any) -> LocalizationProtocol:
    """Return a preset, with the settings that its publication tuned on one data set and with changes.

    Args:
        name: A key of :data:`PRESETS`.
        tuned_on: 'cub' or 'ilsvrc', the data set whose settings to take where a publication has two (the
            fixed threshold; for ``ts_cam`` and ``scm`` also how boxes are truncated, which only shows in
            fractional ones). It says nothing about the images that are evaluated.
        **changes: Attributes of :class:`LocalizationProtocol` to replace; ``alias`` replaces the name.

    Returns:
        The protocol.

    Raises:
        ValueError: If a name is unknown.
    """
    refuse_dataset(changes)
    if name not in PRESETS:
        raise ValueError(f'protocol: expected one of {tuple(PRESETS)}, got {name!r}')
    if tuned_on not in TUNED_ON:
        raise ValueError(f'tuned_on: expected one of {TUNED_ON}, got {tuned_on!r}')
    protocol = PRESETS[name]
    if tuned_on == 'ilsvrc':
        protocol = replace(protocol, **_ILSVRC_CHANGES.get(name, {}))
    if 'alias' in changes:
        changes['name'] = changes.pop('alias')
    unknown = set(changes) - {field.name for field in fields(LocalizationProtocol)}
    if unknown:
        raise ValueError(
            f'protocol: expected attributes out of {list(asdict(protocol))}, alias and tuned_on, got '
            f'{sorted(unknown)}'
        )
    return replace(protocol, **changes)
