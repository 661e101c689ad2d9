"""What all processes of a run decide together."""

import torch
from mmengine.dist import all_reduce, get_world_size


def largest_of_all(number: int) -> int:
    """Return the largest of the numbers that the processes have; all of them must come here.

    Args:
        number: That of this process.

    Returns:
        The same in every process.
    """
    if get_world_size() == 1:
        return number
    together = torch.tensor([number])
    all_reduce(together, op='max')
    return int(together)
