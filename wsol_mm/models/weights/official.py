"""What a head says of its authors' checkpoints."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from .layouts import Layout


@dataclass(frozen=True)
class OfficialCheckpoints:
    """How one method's published checkpoints are named; it stands at the method's head.

    Attributes:
        method: Name of the method on a command line, that of its configs.
        layouts: One for each of its architectures.
        also: Further methods that train the same networks: their checkpoints are converted alike.
        dimensions: Entries that must be there, under the names used here, with their number of dimensions:
            they tell the method's checkpoints from those of a plain classifier.
    """

    method: str
    layouts: tuple[Layout, ...]
    also: tuple[str, ...] = ()
    dimensions: Mapping[str, int] = field(default_factory=dict)
