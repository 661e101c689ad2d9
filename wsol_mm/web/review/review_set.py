"""The images and boxes under review: what they were, what reviewers made of them, and in which order."""

import getpass
import hashlib
import json
import math
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, NamedTuple

from .review_journal import ReviewJournal

#: Judgements of an image: its boxes are right as they are now, or they are wrong and were left so.
RIGHT, WRONG = 'right', 'wrong'
#: What became of a box: it is the model's, was changed, or drawn by hand.
PREDICTED, CORRECTED, DRAWN = 'predicted', 'corrected', 'drawn'
#: States by which images are chosen.
STATES = ('all', 'unchecked', 'checked', RIGHT, CORRECTED, WRONG, 'empty')
_DECIMALS = 2
#: Boxes of an image; more are a mistake.
_MOST_BOXES = 1000


class Box(NamedTuple):
    """A box.

    Attributes:
        id: Id of the annotation that it comes from; None if it was drawn here.
        category: Id of its category.
        bbox: x, y, width and height in pixels.
    """

    id: int | None
    category: int
    bbox: tuple[float, float, float, float]


@dataclass(frozen=True)
class ImageState:
    """What is known of an image now.

    Attributes:
        version: Number of changes so far; a change must name the one that it was made on.
        verdict: :data:`RIGHT`, :data:`WRONG`, or None if nobody has checked it.
        boxes: Its boxes.
        by: Who changed it last.
        time: When, in UTC.
    """

    version: int
    verdict: str | None
    boxes: tuple[Box, ...]
    by: str | None = None
    time: str | None = None


@dataclass
class ReviewImage:
    """An image.

    Attributes:
        entry: Its entry in the COCO file.
        width: In pixels.
        height: In pixels.
        originals: Annotations of the file by id.
        certainty: Of the least certain box, in [0, 1]: its ``confidence``, else its ``score``, else 1 (drawn
            by a human); 0 without a box.
        state: What it is now.
    """

    entry: dict
    width: int
    height: int
    originals: dict[int, dict]
    certainty: float
    state: ImageState

    def means(self, box: Box) -> str:
        """Tell what became of a box: :data:`PREDICTED`, :data:`CORRECTED` or :data:`DRAWN`."""
        original = None if box.id is None else self.originals[box.id]
        if original is None:
            return DRAWN
        before = _box_of(original)
        if (before.category, before.bbox) == (box.category, box.bbox):
            return {CORRECTED: CORRECTED, DRAWN: DRAWN}.get(str(original.get('review')), PREDICTED)
        return DRAWN if original.get('review') == DRAWN else CORRECTED

    @property
    def is_corrected(self) -> bool:
        """Whether boxes were changed, drawn or deleted."""
        kept = [box for box in self.state.boxes if self.means(box) == PREDICTED]
        return len(kept) != len(self.originals) or len(self.state.boxes) != len(self.originals)


class ConflictError(Exception):
    """The image was changed meanwhile, in another tab.

    Attributes:
        image_id: The image.
    """

    def __init__(self, image_id: int) -> None:
        super().__init__(f'image {image_id}: expected its newest version, got an older one')
        self.image_id = image_id


class _Undoable(NamedTuple):
    image_id: int
    before: ImageState
    after: ImageState


class ReviewSet:
    """Annotations in COCO's format with all that reviewers have done to them.

    Changes are in the journal beside the output before they count. All methods may be called by several
    threads.

    Args:
        annotations: COCO instances file, as ``tools/predict.py`` writes it; or as a review does.
        journal: File of the journal; the actions in it are done again.
        reviewer: Name under which changes are kept; None for that of the user.
        size_of: Returns width and height of an image of which the file does not say them.

    Raises:
        ValueError: If the file is no such file, or the journal is of another one.
    """

    def __init__(
        self,
        annotations: Path,
        journal: Path,
        reviewer: str | None = None,
        size_of: Callable[[str], tuple[int, int]] | None = None,
    ) -> None:
        content = annotations.read_bytes()
        #: The file as it was read, without images and annotations.
        self.rest, self.categories, self.images, self.groups = _read_coco(annotations, content, size_of)
        self.reviewer = getpass.getuser() if reviewer is None else reviewer
        #: Ids of the images, the least certain first.
        self.order = sorted(self.images, key=lambda image_id: self.images[image_id].certainty)
        self._counts = Counter(state for image in self.images.values() for state in _states(image))
        self._undo: dict[str, list[_Undoable]] = {}
        #: Held while something is changed, or must not be.
        self.lock = threading.RLock()
        self.journal = ReviewJournal(journal, hashlib.sha256(content).hexdigest())
        try:
            for action in self.journal.actions:
                self._redo(action)
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(
                f'{journal}: expected actions on these images, got another one: {error}'
            ) from error

    def close(self) -> None:
        """Close the journal."""
        self.journal.close()

    def queue(
        self, category: int | None = None, low: float = 0.0, high: float = 1.0, state: str = 'all'
    ) -> list[int]:
        """Choose images.

        Args:
            category: Only images with a box of this category.
            low: Least certainty.
            high: Largest certainty.
            state: One of :data:`STATES`.

        Returns:
            Their ids, the least certain first.

        Raises:
            ValueError: If there is no such state or category.
        """
        if state not in STATES:
            raise ValueError(f"state: expected one of {', '.join(STATES)}, got '{state}'")
        if category is not None and category not in self.categories:
            raise ValueError(f'category: expected the id of a category, got {category}')
        with self.lock:
            return [
                image_id
                for image_id in self.order
                if low <= self.images[image_id].certainty <= high
                and _has_state(self.images[image_id], state)
                and (
                    category is None
                    or any(box.category == category for box in self.images[image_id].state.boxes)
                )
            ]

    def counts(self) -> dict[str, int]:
        """Count the images: all, and by :data:`STATES`."""
        with self.lock:
            return {state: self._counts[state] for state in STATES}

    def change(self, image_id: int, content: Mapping[str, Any]) -> ImageState:
        """Change an image; the change is on the disk when this returns.

        Args:
            image_id: The image.
            content: ``version`` that the change was made on, ``verdict`` (:data:`RIGHT`, :data:`WRONG` or
                None), ``boxes`` (each with ``id``, ``category`` and ``bbox``) and ``tab``, whose undo takes
                it back.

        Returns:
            The new state.

        Raises:
            ConflictError: If the image has another version by now.
            KeyError: If there is no such image.
            OSError: If the change cannot be written; nothing is changed then.
            ValueError: If the content is not as said.
        """
        with self.lock:
            image = self.images[image_id]
            version, tab, verdict = content.get('version'), content.get('tab'), content.get('verdict')
            if not isinstance(version, int) or isinstance(version, bool):
                raise ValueError(f'version: expected an integer, got {version!r}')
            if not isinstance(tab, str) or not 0 < len(tab) <= 64:
                raise ValueError(f'tab: expected a name of 1 to 64 characters, got {tab!r:.80}')
            if verdict not in (None, RIGHT, WRONG):
                raise ValueError(f"verdict: expected '{RIGHT}', '{WRONG}' or none, got {verdict!r:.80}")
            boxes = self._checked_boxes(image, content.get('boxes'))
            if version != image.state.version:
                raise ConflictError(image_id)
            return self._do(image_id, tab, verdict, boxes)

    def undo(self, tab: str) -> int | None:
        """Take back the last change of a tab that is not taken back yet.

        Args:
            tab: The tab.

        Returns:
            The image that was changed; None if there is nothing to take back.

        Raises:
            ConflictError: If another tab has changed the image since; that change stays.
            OSError: If it cannot be written; nothing is changed then.
        """
        with self.lock:
            stack = self._undo.get(tab)
            if not stack:
                return None
            last = stack[-1]
            now = self.images[last.image_id].state
            if (now.verdict, now.boxes) != (last.after.verdict, last.after.boxes):
                stack.pop()
                raise ConflictError(last.image_id)
            self._do(last.image_id, tab, last.before.verdict, last.before.boxes, undo=True)
            return last.image_id

    def _do(
        self, image_id: int, tab: str, verdict: str | None, boxes: tuple[Box, ...], undo: bool = False
    ) -> ImageState:
        action = {
            'image': image_id,
            'version': self.images[image_id].state.version + 1,
            'verdict': verdict,
            'boxes': boxes,
            'tab': tab,
            'by': self.reviewer,
            'time': datetime.now(timezone.utc).isoformat(timespec='seconds'),
        }
        if undo:
            action['undo'] = True
        self.journal.append(action)
        return self._redo(action)

    def _redo(self, action: Mapping[str, Any]) -> ImageState:
        """Apply an action of the journal."""
        image = self.images[action['image']]
        before = image.state
        if action['version'] != before.version + 1:
            raise ValueError(f'version: expected {before.version + 1}, got {action["version"]}')
        boxes = tuple(Box(box[0], box[1], tuple(box[2])) for box in action['boxes'])
        self._counts.subtract(_states(image))
        image.state = ImageState(action['version'], action['verdict'], boxes, action['by'], action['time'])
        self._counts.update(_states(image))
        stack = self._undo.setdefault(action['tab'], [])
        if action.get('undo'):
            # What stood above could not be taken back any more.
            while stack.pop().image_id != action['image']:
                pass
        else:
            stack.append(_Undoable(action['image'], before, image.state))
        return image.state

    def _checked_boxes(self, image: ReviewImage, given: object) -> tuple[Box, ...]:
        if not isinstance(given, list) or len(given) > _MOST_BOXES:
            raise ValueError(f'boxes: expected a list of at most {_MOST_BOXES}, got {given!r:.80}')
        boxes = []
        for place, item in enumerate(given):
            try:
                origin, category, sides = item['id'], item['category'], item['bbox']
                x, y, width, height = map(float, sides)
            except (KeyError, TypeError, ValueError) as error:
                raise ValueError(
                    f'boxes[{place}]: expected id, category and bbox [x, y, width, height], got {item!r:.80}'
                ) from error
            if origin is not None and origin not in image.originals:
                raise ValueError(f'boxes[{place}].id: expected one of this image or none, got {origin!r:.80}')
            if category not in self.categories:
                raise ValueError(
                    f'boxes[{place}].category: expected the id of a category, got {category!r:.80}'
                )
            if origin is not None and _box_of(image.originals[origin]).bbox == (x, y, width, height):
                boxes.append(Box(origin, category, (x, y, width, height)))  # as it was, even if it overruns
                continue
            if not all(map(math.isfinite, (x, y, width, height))) or width < 0 or height < 0:
                raise ValueError(f'boxes[{place}].bbox: expected finite numbers, got {sides!r:.80}')
            x1, y1 = min(x + width, image.width), min(y + height, image.height)
            x, y = max(x, 0.0), max(y, 0.0)
            if x1 - x < 1 or y1 - y < 1:
                raise ValueError(
                    f'boxes[{place}].bbox: expected at least a pixel in the image of {image.width} x '
                    f'{image.height}, got {sides!r:.80}'
                )
            rounded = (round(value, _DECIMALS) for value in (x, y, x1 - x, y1 - y))
            boxes.append(Box(origin, category, tuple(rounded)))  # type: ignore[arg-type]
        ids = [box.id for box in boxes if box.id is not None]
        if len(ids) != len(set(ids)):
            raise ValueError(f'boxes: expected each id once, got {ids!r:.80}')
        return tuple(boxes)


def _has_state(image: ReviewImage, state: str) -> bool:
    verdict = image.state.verdict
    if state == 'all':
        return True
    if state == 'empty':
        return not image.state.boxes
    if state in ('unchecked', 'checked'):
        return (verdict is None) == (state == 'unchecked')
    if state == WRONG:
        return verdict == WRONG
    return verdict == RIGHT and image.is_corrected == (state == CORRECTED)


def _states(image: ReviewImage) -> list[str]:
    return [state for state in STATES if _has_state(image, state)]


def _box_of(annotation: Mapping[str, Any]) -> Box:
    x, y, width, height = map(float, annotation['bbox'])
    return Box(annotation['id'], annotation['category_id'], (x, y, width, height))


def _read_coco(
    file: Path, content: bytes, size_of: Callable[[str], tuple[int, int]] | None
) -> tuple[dict, dict[int, str], dict[int, ReviewImage], list[dict]]:
    accepted = 'a COCO instances file with the lists images, annotations and categories'
    try:
        coco = json.loads(content)
        categories = {category['id']: str(category['name']) for category in coco['categories']}
        entries, annotations = coco['images'], coco['annotations']
        images = {entry['id']: _image(entry, size_of) for entry in entries}
        groups = []
        for annotation in annotations:
            if annotation.get('iscrowd', 0):
                groups.append(annotation)
                continue
            if annotation['category_id'] not in categories or len(annotation['bbox']) != 4:
                raise ValueError(
                    f'annotation {annotation["id"]}: expected a known category and a bbox, got others'
                )
            images[annotation['image_id']].originals[annotation['id']] = annotation
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f'{file}: expected {accepted}, got no valid JSON ({error})') from error
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f'{file}: expected {accepted}, got another structure ({type(error).__name__}: {error})'
        ) from error
    if len(images) != len(entries) or not images:
        raise ValueError(
            f'{file}: expected images with an id of their own, got {len(images)} of {len(entries)}'
        )
    if not categories:
        raise ValueError(f'{file}: expected categories, got none')
    for image in images.values():
        _start(image)
    rest = {key: value for key, value in coco.items() if key not in ('images', 'annotations')}
    return rest, categories, images, groups


def _image(entry: dict, size_of: Callable[[str], tuple[int, int]] | None) -> ReviewImage:
    if not isinstance(entry['id'], int) or not isinstance(entry['file_name'], str):
        raise ValueError(f'images: expected an integer as id and a file_name, got {entry!r:.80}')
    if 'width' in entry and 'height' in entry:
        size = int(entry['width']), int(entry['height'])
    elif size_of is not None:
        size = size_of(entry['file_name'])
    else:
        raise ValueError(f'image {entry["id"]}: expected width and height, got none')
    return ReviewImage(dict(entry), *size, {}, 0.0, ImageState(0, None, ()))


def _start(image: ReviewImage) -> None:
    """Set what an image is before this review: as the model left it, or an earlier review."""
    boxes = tuple(_box_of(annotation) for annotation in image.originals.values())
    earlier = image.entry.pop('review', None) or {}
    set_aside = {annotation['id']: annotation for annotation in earlier.get('rejected', ())}
    image.originals.update(set_aside)
    if earlier.get('verdict') == WRONG:
        boxes += tuple(_box_of(annotation) for annotation in set_aside.values())
    image.state = replace(
        image.state,
        verdict=earlier.get('verdict'),
        boxes=boxes,
        by=earlier.get('by'),
        time=earlier.get('time'),
    )
    kept = {box.id for box in boxes}
    image.certainty = min(
        (_certainty(image.originals[box_id]) for box_id in kept if box_id is not None), default=0.0
    )


def _certainty(annotation: Mapping[str, Any]) -> float:
    value = annotation.get('confidence', annotation.get('score', 1.0))
    return min(max(float(value), 0.0), 1.0) if value is not None else 1.0
