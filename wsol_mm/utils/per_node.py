"""Work that one process of every machine does before the others, such as a download."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

from mmengine.dist import barrier


@contextmanager
def one_per_node_first() -> Iterator[None]:
    """Run the body in one process of every machine first, in the others after it.

    What the first one stored, such as a file in a cache, is there for the others. All processes must come
    here. If the first one fails, the others run the body, too, instead of waiting for ever.

    The rank within the machine is read from the launcher's environment: MMEngine's ``get_local_rank`` needs
    a process group that MMEngine's own launchers do not create.
    """
    first = int(os.environ.get('LOCAL_RANK', os.environ.get('OMPI_COMM_WORLD_LOCAL_RANK', '0'))) == 0
    if not first:
        barrier()
    try:
        yield
    finally:
        if first:
            barrier()
