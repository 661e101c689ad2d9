"""Repeated augmentation with the epoch length of DeiT."""

from collections.abc import Sized

from wsol_mm.registry import DATA_SAMPLERS

from mmpretrain.datasets.samplers import RepeatAugSampler


@DATA_SAMPLERS.register_module()
class RepeatedAugSampler(RepeatAugSampler):
    """Every image several times in a row, dealt out to the processes, as DeiT and LCTR sample.

    It differs from mmpretrain's ``RepeatAugSampler`` in three points of the reference
    (docs/specifications/lctr.md, section 6.4): an epoch has ``n // 256 * 256`` samples of all processes
    together, not n; the permutation of epoch e is that of the seed e; and a single process keeps the
    permutation of epoch 0, because the reference tells the sampler of the epoch in distributed training only.

    Args:
        dataset: The data set, of n images.
        shuffle: Whether to permute the images.
        num_repeats: How often an image follows itself.
        seed: Added to the epoch to seed the permutation.
        selected_round: The samples of an epoch are rounded down to a multiple of this, then split among the
            processes; 0 for all n.
        reshuffle_single_process: Whether a single process, too, permutes anew in every epoch.

    Raises:
        ValueError: If the data set has fewer images than ``selected_round``, which would leave nothing,
            or a number is out of its range.
    """

    def __init__(
        self,
        dataset: Sized,
        shuffle: bool = True,
        num_repeats: int = 3,
        seed: int = 0,
        selected_round: int = 256,
        reshuffle_single_process: bool = False,
    ) -> None:
        if num_repeats < 1:
            raise ValueError(f'num_repeats: expected an integer from 1, got {num_repeats}')
        if selected_round < 0:
            raise ValueError(f'selected_round: expected an integer from 0, got {selected_round}')
        super().__init__(dataset, shuffle=shuffle, num_repeats=num_repeats, seed=seed)
        self.selected_round = selected_round
        self.reshuffle_single_process = reshuffle_single_process
        if selected_round:
            selected = len(dataset) // selected_round * selected_round
            if not selected:
                raise ValueError(
                    f'selected_round: expected at most {len(dataset)}, the number of images, got '
                    f'{selected_round}: an epoch would be empty. selected_round=0 takes all'
                )
            self.num_selected_samples = selected // self.world_size

    def set_epoch(self, epoch: int) -> None:
        """Choose the permutation of an epoch; a single process ignores it unless told otherwise."""
        if self.world_size > 1 or self.reshuffle_single_process:
            super().set_epoch(epoch)
