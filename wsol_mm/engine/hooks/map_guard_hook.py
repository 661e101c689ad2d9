"""Watch over a map that is learned, and begin anew where it has become useless."""

import copy
import logging
from collections.abc import Sequence
from typing import Any

from wsol_mm.models.heads import GuardedHead
from wsol_mm.registry import HOOKS
from wsol_mm.utils.model_wrappers import unwrapped

import mmengine.dist as dist
import torch
from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.runner import BaseLoop, EpochBasedTrainLoop, Runner, set_random_seed
from mmpretrain.structures import DataSample

#: Under which the number of restarts is kept, in checkpoints too.
RESTARTS = 'map_guard_restarts'


@HOOKS.register_module()
class MapGuardHook(Hook):
    """Say when the map of a :class:`GuardedHead` has become useless, and restart the training.

    The head tells from two areas of training images, see there. The training then begins anew, with new
    weights of the head from the next seed, a new optimizer state and the schedule from its start. Checkpoints
    keep the number of restarts: a resumed training does not get more of them. In a test, the same is read
    from the predicted maps, those that say nothing are counted, and the log names both.

    Args:
        interval: Look every so many iterations, the first time that many after those in which the areas do
            not tell; in a training by epochs at the end of every epoch from there on.
        max_restarts: Number of restarts, 0 for a warning alone.

    Raises:
        ValueError: If ``interval`` is not positive or ``max_restarts`` is negative.
    """

    # After the schedulers, whose state a restart replaces, and before the checkpoint of the same iteration.
    priority = 80

    def __init__(self, interval: int = 50, max_restarts: int = 0) -> None:
        if interval < 1:
            raise ValueError(f'interval: expected an integer from 1, got {interval}')
        if max_restarts < 0:
            raise ValueError(f'max_restarts: expected an integer from 0, got {max_restarts}')
        self.interval, self.max_restarts = interval, max_restarts
        self._has_warned = False
        self._seen = torch.zeros(4)

    def before_train(self, runner: Runner) -> None:
        """Check that there is what can be watched over.

        Raises:
            TypeError: If the head is no :class:`GuardedHead`.
        """
        self._head(runner)

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: dict | None = None
    ) -> None:
        """Look at the areas, in a training by iterations."""
        if isinstance(runner.train_loop, EpochBasedTrainLoop):
            return
        watched = runner.iter + 1 - self._head(runner).guarded_from(runner.max_iters)
        if watched >= self.interval and watched % self.interval == 0 and self._look(runner, runner.iter + 1):
            self._rewind_data(runner.train_loop)
            # The loop adds one after all hooks; a checkpoint that is due is one of iteration 0.
            runner.train_loop._iter = -1

    def after_train_epoch(self, runner: Runner) -> None:
        """Look at the areas, in a training by epochs."""
        if not isinstance(runner.train_loop, EpochBasedTrainLoop):
            return
        watched = runner.iter - self._head(runner).guarded_from(runner.max_iters)
        if watched >= self.interval and self._look(runner, runner.iter):
            # As above, of epoch 0.
            runner.train_loop._epoch, runner.train_loop._iter = -1, 0

    def _look(self, runner: Runner, iteration: int) -> bool:
        """Warn of a collapse, or make everything new for another start; return whether it is to begin."""
        head = self._head(runner)
        areas = self._areas(head)
        restarts = self._restarts(runner)
        if not head.fails(*areas):
            return False
        if restarts < self.max_restarts:
            print_log(
                f'Iteration {iteration}: {head.failure}: {head.described(*areas)}. The training begins anew '
                f'with the next seed, restart {restarts + 1} of at most {self.max_restarts}',
                'current',
                level=logging.WARNING,
            )
            self._restart(runner, head, restarts + 1)
            return True
        if not self._has_warned:
            self._has_warned = True
            self._warn(f'Iteration {iteration}', head, areas, restarts)
        return False

    def after_train(self, runner: Runner) -> None:
        """Say how it ended."""
        head = self._head(runner)
        areas = self._areas(head)
        restarts = self._restarts(runner)
        if head.fails(*areas):
            self._warn('End of training', head, areas, restarts)
        else:
            print_log(f'The map is sound: {head.described(*areas)}, restarts {restarts}', 'current')

    def before_val_epoch(self, runner: Runner) -> None:
        """Begin to count."""
        self._seen = torch.zeros(4)

    def before_test_epoch(self, runner: Runner) -> None:
        """Begin to count."""
        self._seen = torch.zeros(4)

    def after_val_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Sequence[DataSample] = ()
    ) -> None:
        """Add up what the maps tell."""
        self._count(runner, outputs)

    def after_test_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Sequence[DataSample] = ()
    ) -> None:
        """Add up what the maps tell."""
        self._count(runner, outputs)

    def after_val_epoch(self, runner: Runner, metrics: dict | None = None) -> None:
        """Report the predictions."""
        self._report(runner)

    def after_test_epoch(self, runner: Runner, metrics: dict | None = None) -> None:
        """Report the predictions."""
        self._report(runner)

    @staticmethod
    def _head(runner: Runner) -> GuardedHead:
        model = unwrapped(runner.model)
        head = getattr(model, 'head', None)
        if not isinstance(head, GuardedHead):
            raise TypeError(f'model.head: expected a GuardedHead, got {type(head).__name__}')
        return head

    @staticmethod
    def _restarts(runner: Runner) -> int:
        hub = runner.message_hub
        return hub.get_info(RESTARTS) if RESTARTS in hub.runtime_info else 0

    @staticmethod
    def _areas(head: GuardedHead) -> tuple[float, float]:
        """Return the two areas, means over all processes."""
        areas = head.areas.clone()
        dist.all_reduce(areas, op='mean')
        first, second = areas.tolist()
        return first, second

    @staticmethod
    def _restart(runner: Runner, head: GuardedHead, number: int) -> None:
        runner.message_hub.update_info(RESTARTS, number)
        set_random_seed(runner.seed + number)
        head.restart()
        runner.optim_wrapper.optimizer.state.clear()
        for group in runner.optim_wrapper.param_groups:  # with that of the rate in the log
            group['lr'] = group.get('initial_lr', group['lr'])
        runner.param_schedulers = runner.build_param_scheduler(copy.deepcopy(runner.cfg.param_scheduler))

    @staticmethod
    def _rewind_data(loop: BaseLoop) -> None:
        """Begin with the first samples, as a training does that is resumed from the restart."""
        sampler = loop.dataloader.batch_sampler.sampler
        if hasattr(sampler, 'skip'):  # in later versions of MMEngine
            sampler.skip(0)
            loop.dataloader_iterator = type(loop.dataloader_iterator)(loop.dataloader)

    @staticmethod
    def _warn(when: str, head: GuardedHead, areas: tuple[float, float], restarts: int) -> None:
        print_log(
            f'{when}, after {restarts} restarts: {head.complaint(*areas)}. {head.remedy}, or max_restarts of '
            'MapGuardHook',
            'current',
            level=logging.ERROR,
        )

    def _count(self, runner: Runner, outputs: Sequence[DataSample]) -> None:
        maps = torch.cat([sample.loc_maps for sample in outputs])
        areas, useless = self._head(runner).map_areas(maps)
        self._seen += torch.tensor([len(maps), int(useless.sum()), *areas.sum(dim=0).tolist()])

    def _report(self, runner: Runner) -> None:
        head = self._head(runner)
        seen = self._seen.to(head.areas.device)
        dist.all_reduce(seen, op='sum')
        number, useless, *sums = seen.tolist()
        areas = tuple(total / max(number, 1) for total in sums)
        has_failed = head.fails(*areas)
        print_log(
            f'{head.complaint(*areas) if has_failed else head.described(*areas)}; {useless:.0f} of '
            f'{number:.0f} maps are {head.useless_map}',
            'current',
            level=logging.WARNING if has_failed or useless else logging.INFO,
        )
