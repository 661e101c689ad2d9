"""Choosing the refinement of maps in a few words, as on a command line: ``224 336 flip guided``."""

from collections.abc import Sequence
from typing import Any

from mmengine.config import Config

FLIP = 'flip'
#: Edge filters and what they are called in configs.
FILTERS = {'guided': 'GuidedFilter', 'solver': 'BilateralSolver', 'grabcut': 'GrabCut'}
#: What begins the word of the filter that takes the file of its weights.
SAM = 'sam='
#: Settings of transforms that say the size of images.
_SIZES = ('scale', 'crop_size')


def refinement_config(words: Sequence[str]) -> dict[str, Any]:
    """Return the config of a :class:`~wsol_mm.models.refinement.MapRefinement`.

    Args:
        words: Sides of views in pixels, ``flip`` to see them mirrored too, names of :data:`FILTERS`,
            ``sam=FILE`` with the weights of SAM. Filters work in the order of their words.

    Raises:
        ValueError: If a word is another, occurs twice, or there is none.
    """
    for i, word in enumerate(words):
        if word in words[:i]:
            raise ValueError(f'refine: expected every word once, got {word!r} twice')
        is_filter = word in FILTERS or (word.startswith(SAM) and word != SAM)
        if word != FLIP and not is_filter and not (word.isdecimal() and int(word) > 0):
            raise ValueError(
                f"refine: expected sides of views in pixels, '{FLIP}', filters of {list(FILTERS)}, and "
                f'{SAM}FILE with the weights of SAM, got {word!r}'
            )
    if not words:
        raise ValueError("refine: expected at least one word, such as 'flip' or 'guided', got none")
    sizes = [int(word) for word in words if word.isdecimal()]
    return dict(
        type='MapRefinement',
        sizes=sizes or None,
        flip=FLIP in words,
        filters=[
            dict(type=FILTERS[word])
            if word in FILTERS
            else dict(type='SAMPrompt', checkpoint=word.removeprefix(SAM))
            for word in words
            if word in FILTERS or word.startswith(SAM)
        ],
    )


def use_refinement(cfg: Config, words: Sequence[str]) -> None:
    """Refine the maps of a test or prediction, and let its images come at the size of the largest view.

    Args:
        cfg: Runner config; changed in place.
        words: See :func:`refinement_config`; those of the config itself no longer hold.

    Raises:
        ValueError: If a word is unknown, there is no test pipeline that says a square size, or its size may
            be that of the views of the config.
    """
    refinement = refinement_config(words)
    former = cfg.model.get('refinement') or {}
    plain_size = former.get('image_size')
    if former.get('sizes') is not None and plain_size is None:
        raise ValueError(
            'model.refinement.image_size: expected the side of the images without refinement, as the config '
            f'has views of {list(former.sizes)} pixels, got None'
        )
    if refinement['sizes'] is not None or plain_size is not None:
        dataset: Any = (cfg.get('test_dataloader') or {}).get('dataset') or {}
        if not dataset.get('pipeline'):
            raise ValueError('refine: expected test_dataloader.dataset.pipeline in the config, got none')
        plain_size = plain_size or image_size(dataset.pipeline)
        dataset.pipeline = enlarged(dataset.pipeline, max(refinement['sizes'] or [plain_size]))
        refinement['image_size'] = plain_size
    cfg.model.refinement = refinement


def image_size(pipeline: Sequence[dict]) -> int:
    """Return the side of the images that a test pipeline makes.

    Args:
        pipeline: Transforms, the last of whose sizes is that of the images.

    Raises:
        ValueError: If they have no size, or are no squares.
    """
    sizes = [step[key] for step in pipeline for key in _SIZES if step.get(key) is not None]
    last = sizes[-1] if sizes else None
    side = last if isinstance(last, int) else last[0] if last and len(set(last)) == 1 else None
    if side is None:
        raise ValueError(f'refine: expected a test pipeline that makes square images, got the size {last}')
    return side


def enlarged(pipeline: Sequence[dict], side: int) -> list[dict]:
    """Return a test pipeline whose images have another size: all of its sizes grow in proportion.

    Args:
        pipeline: Transforms, the last of whose sizes is that of the images.
        side: Wanted side of the images.

    Raises:
        ValueError: If they have no size, or are no squares.
    """
    now = image_size(pipeline)

    def grown(value: Any) -> Any:
        if isinstance(value, int):
            return round(value * side / now)
        return tuple(grown(part) for part in value)

    def changed(step: dict) -> dict:
        return {**step, **{key: grown(step[key]) for key in _SIZES if step.get(key) is not None}}

    return [changed(step) for step in pipeline]
