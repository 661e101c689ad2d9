"""Choosing the refinement of maps in a few words, as on a command line: ``224 336 flip guided``."""

from collections.abc import Sequence
from typing import Any

from mmengine.config import Config

FLIP = 'flip'
#: Edge filters and what they are called in configs.
FILTERS = {'guided': 'GuidedFilter', 'solver': 'BilateralSolver', 'grabcut': 'GrabCut'}
#: Settings of transforms that say the size of images.
_SIZES = ('scale', 'crop_size')


def refinement_config(words: Sequence[str]) -> dict[str, Any]:
    """Return the config of a :class:`~wsol_mm.models.refinement.MapRefinement`.

    Args:
        words: Sides of views in pixels, ``flip`` to see them mirrored too, names of :data:`FILTERS`.

    Raises:
        ValueError: If a word is another, occurs twice, or there is none.
    """
    for i, word in enumerate(words):
        if word in words[:i]:
            raise ValueError(f'refine: expected every word once, got {word!r} twice')
        if word != FLIP and word not in FILTERS and not (word.isdecimal() and int(word) > 0):
            raise ValueError(
                f"refine: expected sides of views in pixels, '{FLIP}', and filters of {list(FILTERS)}, "
                f'got {word!r}'
            )
    if not words:
        raise ValueError("refine: expected at least one word, such as 'flip' or 'guided', got none")
    sizes = [int(word) for word in words if word.isdecimal()]
    return dict(
        type='MapRefinement',
        sizes=sizes or None,
        flip=FLIP in words,
        filters=[dict(type=FILTERS[word]) for word in words if word in FILTERS],
    )


def use_refinement(cfg: Config, words: Sequence[str]) -> None:
    """Refine the maps of a test or prediction, and let its images come at the size of the largest view.

    Args:
        cfg: Runner config; changed in place.
        words: See :func:`refinement_config`; those of the config itself no longer hold.

    Raises:
        ValueError: If a word is unknown, or the test pipeline says no square size that could be changed.
    """
    refinement = refinement_config(words)
    cfg.model.refinement = refinement
    if refinement['sizes'] is not None:
        dataset = cfg.test_dataloader.dataset
        dataset.pipeline = enlarged(dataset.pipeline, max(refinement['sizes']))


def enlarged(pipeline: Sequence[dict], side: int) -> list[dict]:
    """Return a test pipeline whose images have another size: all of its sizes grow in proportion.

    Args:
        pipeline: Transforms, the last of whose sizes is that of the images.
        side: Wanted side of the images.

    Raises:
        ValueError: If they have no size, or are no squares.
    """
    sizes = [step[key] for step in pipeline for key in _SIZES if step.get(key) is not None]
    last = sizes[-1] if sizes else None
    now = last if isinstance(last, int) else last[0] if last and len(set(last)) == 1 else None
    if now is None:
        raise ValueError(f'refine: expected a test pipeline that makes square images, got the size {last}')

    def grown(value: Any) -> Any:
        if isinstance(value, int):
            return round(value * side / now)
        return tuple(grown(part) for part in value)

    def changed(step: dict) -> dict:
        return {**step, **{key: grown(step[key]) for key in _SIZES if step.get(key) is not None}}

    return [changed(step) for step in pipeline]
