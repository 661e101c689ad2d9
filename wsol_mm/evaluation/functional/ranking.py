"""How well a confidence tells right from wrong."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Reliability(NamedTuple):
    """Confidences against what came true, in bins of equal width.

    Attributes:
        confidence: Mean confidence of each bin (B,), NaN without a box.
        accuracy: Share of right ones (B,), NaN without a box.
        count: Number (B,).
    """

    confidence: NDArray[np.float64]
    accuracy: NDArray[np.float64]
    count: NDArray[np.int64]  # type: ignore[assignment]  # the method of tuples is not needed

    @property
    def calibration_error(self) -> float:
        """Expected calibration error: mean distance of confidence and accuracy, weighted by the counts."""
        used = self.count > 0
        distance = np.abs(self.confidence - self.accuracy)[used]
        return float(np.average(distance, weights=self.count[used]))


def auroc(confidence: NDArray[np.floating], right: NDArray[np.bool_]) -> float:
    """Area under the ROC curve: how often a right one has a higher confidence than a wrong one.

    Args:
        confidence: (N,); equal ones count as half.
        right: (N,) bool.

    Returns:
        The area; NaN if all are right, or none is.
    """
    _, place, count = np.unique(confidence, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(count) - (count - 1) / 2)[place]
    num_right = int(np.count_nonzero(right))
    num_wrong = len(ranks) - num_right
    if not num_right or not num_wrong:
        return float('nan')
    return float((ranks[right].sum() - num_right * (num_right + 1) / 2) / (num_right * num_wrong))


def least_certain(confidence: NDArray[np.floating], share: float) -> NDArray[np.int64]:
    """Places of the least certain ones: a share of all, rounded up, the least certain first."""
    return np.argsort(confidence, kind='stable')[: int(np.ceil(share * len(confidence)))]


def reliability(confidence: NDArray[np.floating], right: NDArray[np.bool_], bins: int = 10) -> Reliability:
    """Compare confidences with what came true.

    Args:
        confidence: (N,) in [0, 1].
        right: (N,) bool.
        bins: Number of bins.

    Returns:
        Means and numbers per bin.
    """
    place = np.minimum((np.asarray(confidence) * bins).astype(int), bins - 1)
    count = np.bincount(place, minlength=bins)
    with np.errstate(invalid='ignore'):
        mean, accuracy = (np.bincount(place, values, bins) / count for values in (confidence, right))
    return Reliability(mean, accuracy, count)
