"""What a server counts, in the text format of Prometheus."""

import threading
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator

#: Upper bounds of the classes of durations, in seconds.
_BOUNDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class ServerMetrics:
    """Counts requests by status, their durations, and the images of the batches."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._requests: Counter[int] = Counter()
        self._durations = [0] * (len(_BOUNDS) + 1)
        self._seconds = 0.0
        self._batches = 0
        self._images = 0

    def request(self, status: int, seconds: float) -> None:
        """Count a request to the model."""
        with self._lock:
            self._requests[status] += 1
            self._durations[bisect_left(_BOUNDS, seconds)] += 1
            self._seconds += seconds

    def batch(self, size: int) -> None:
        """Count a batch."""
        with self._lock:
            self._batches += 1
            self._images += size

    def text(self, num_waiting: int) -> str:
        """Return all numbers."""
        with self._lock:
            return '\n'.join(self._lines(num_waiting)) + '\n'

    def _lines(self, num_waiting: int) -> Iterator[str]:
        yield '# HELP wsol_mm_requests_total Requests to the model, by the status of the answer.'
        yield '# TYPE wsol_mm_requests_total counter'
        for status, count in sorted(self._requests.items()):
            yield f'wsol_mm_requests_total{{status="{status}"}} {count}'
        yield '# HELP wsol_mm_request_seconds From the request to its answer.'
        yield '# TYPE wsol_mm_request_seconds histogram'
        below = 0
        for bound, count in zip((*map(str, _BOUNDS), '+Inf'), self._durations, strict=True):
            below += count
            yield f'wsol_mm_request_seconds_bucket{{le="{bound}"}} {below}'
        yield f'wsol_mm_request_seconds_sum {self._seconds:.6f}'
        yield f'wsol_mm_request_seconds_count {below}'
        yield '# HELP wsol_mm_batches_total Batches that the model has worked on.'
        yield '# TYPE wsol_mm_batches_total counter'
        yield f'wsol_mm_batches_total {self._batches}'
        yield '# HELP wsol_mm_images_total Images in these batches.'
        yield '# TYPE wsol_mm_images_total counter'
        yield f'wsol_mm_images_total {self._images}'
        yield '# HELP wsol_mm_waiting Images that wait for a batch.'
        yield '# TYPE wsol_mm_waiting gauge'
        yield f'wsol_mm_waiting {num_waiting}'
