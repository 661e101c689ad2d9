"""Watch over a decoder that teaches itself, and begin anew where it has collapsed."""

import copy
import logging
from collections.abc import Sequence
from typing import Any

from wsol_mm.models.heads.found_head import COLLAPSED_SHARE, FOUNDHead
from wsol_mm.registry import HOOKS
from wsol_mm.utils.model_wrappers import unwrapped

import mmengine.dist as dist
import torch
from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.runner import BaseLoop, EpochBasedTrainLoop, Runner, set_random_seed
from mmpretrain.structures import DataSample

#: Under which the number of restarts is kept, in checkpoints too.
RESTARTS = 'collapse_restarts'


@HOOKS.register_module()
class CollapseGuardHook(Hook):
    """Say when a :class:`FOUNDHead` predicts too little for its pseudo masks, and restart the training.

    A collapse shows soon after the first phase of the loss: the predicted area falls below 0.65 of the pseudo
    masks'. The training then begins anew, with new weights of the head from the next seed, a new optimizer
    state and the schedule from its start. Checkpoints keep the number of restarts: a resumed training does
    not get more of them. In a test, empty predictions are counted and named in the log.

    Args:
        interval: Look every so many iterations, the first time that many after the first phase; in a training
            by epochs at the end of every epoch from there on.
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
        self._seen = torch.zeros(3)

    def before_train(self, runner: Runner) -> None:
        """Check that there is what can be watched over.

        Raises:
            TypeError: If the head is no :class:`FOUNDHead`.
        """
        self._head(runner)

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: dict | None = None
    ) -> None:
        """Look at the areas, in a training by iterations."""
        if isinstance(runner.train_loop, EpochBasedTrainLoop):
            return
        watched = runner.iter + 1 - self._head(runner).mask_loss.first_phase
        if watched >= self.interval and watched % self.interval == 0 and self._look(runner, runner.iter + 1):
            self._rewind_data(runner.train_loop)
            # The loop adds one after all hooks; a checkpoint that is due is one of iteration 0.
            runner.train_loop._iter = -1

    def after_train_epoch(self, runner: Runner) -> None:
        """Look at the areas, in a training by epochs."""
        if not isinstance(runner.train_loop, EpochBasedTrainLoop):
            return
        watched = runner.iter - self._head(runner).mask_loss.first_phase
        if watched >= self.interval and self._look(runner, runner.iter):
            # As above, of epoch 0.
            runner.train_loop._epoch, runner.train_loop._iter = -1, 0

    def _look(self, runner: Runner, iteration: int) -> bool:
        """Warn of a collapse, or make everything new for another start; return whether it is to begin."""
        head = self._head(runner)
        pseudo, predicted = self._areas(head)
        restarts = self._restarts(runner)
        if predicted >= COLLAPSED_SHARE * pseudo:
            return False
        if restarts < self.max_restarts:
            print_log(
                f'Iteration {iteration}: the decoder has collapsed: predicted area {predicted:.3f}, pseudo '
                f'masks {pseudo:.3f}. The training begins anew with the next seed, restart {restarts + 1} of '
                f'at most {self.max_restarts}',
                'current',
                level=logging.WARNING,
            )
            self._restart(runner, head, restarts + 1)
            return True
        if not self._has_warned:
            self._has_warned = True
            self._warn(f'Iteration {iteration}', pseudo, predicted, restarts)
        return False

    def after_train(self, runner: Runner) -> None:
        """Say how it ended."""
        pseudo, predicted = self._areas(self._head(runner))
        restarts = self._restarts(runner)
        if predicted < COLLAPSED_SHARE * pseudo:
            self._warn('End of training', pseudo, predicted, restarts)
        else:
            print_log(
                f'The decoder has not collapsed: predicted area {predicted:.3f}, pseudo masks {pseudo:.3f}, '
                f'restarts {restarts}',
                'current',
            )

    def before_val_epoch(self, runner: Runner) -> None:
        """Begin to count."""
        self._seen = torch.zeros(3)

    def before_test_epoch(self, runner: Runner) -> None:
        """Begin to count."""
        self._seen = torch.zeros(3)

    def after_val_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Sequence[DataSample] = ()
    ) -> None:
        """Count empty predictions."""
        self._count(outputs)

    def after_test_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Sequence[DataSample] = ()
    ) -> None:
        """Count empty predictions."""
        self._count(outputs)

    def after_val_epoch(self, runner: Runner, metrics: dict | None = None) -> None:
        """Report the predictions."""
        self._report(runner)

    def after_test_epoch(self, runner: Runner, metrics: dict | None = None) -> None:
        """Report the predictions."""
        self._report(runner)

    @staticmethod
    def _head(runner: Runner) -> FOUNDHead:
        model = unwrapped(runner.model)
        head = getattr(model, 'head', None)
        if not isinstance(head, FOUNDHead):
            raise TypeError(f'model.head: expected a FOUNDHead, got {type(head).__name__}')
        return head

    @staticmethod
    def _restarts(runner: Runner) -> int:
        hub = runner.message_hub
        return hub.get_info(RESTARTS) if RESTARTS in hub.runtime_info else 0

    @staticmethod
    def _areas(head: FOUNDHead) -> tuple[float, float]:
        """Return the areas of pseudo masks and predictions, means over all processes."""
        areas = head.areas.clone()
        dist.all_reduce(areas, op='mean')
        pseudo, predicted = areas.tolist()
        return pseudo, predicted

    @staticmethod
    def _restart(runner: Runner, head: FOUNDHead, number: int) -> None:
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
    def _warn(when: str, pseudo: float, predicted: float, restarts: int) -> None:
        print_log(
            f'{when}: expected a predicted area of at least {COLLAPSED_SHARE:g} of that of the pseudo masks '
            f'({pseudo:.3f}), got {predicted:.3f}, after {restarts} restarts: the decoder has collapsed, and '
            'its maps are not to be used. Larger pseudo masks help (target_area=0.3), '
            "mask_loss.first_targets='pseudo' without refinement, min_share=0.65, or max_restarts of "
            'CollapseGuardHook',
            'current',
            level=logging.ERROR,
        )

    def _count(self, outputs: Sequence[DataSample]) -> None:
        areas = torch.stack([(sample.loc_maps > 0.5).float().mean() for sample in outputs])
        self._seen += torch.tensor([len(areas), int((areas == 0).sum()), float(areas.sum())])

    def _report(self, runner: Runner) -> None:
        head, seen = self._head(runner), self._seen.to(self._head(runner).areas.device)
        dist.all_reduce(seen, op='sum')
        number, empty, area = seen.tolist()
        mean, pseudo = area / max(number, 1), float(head.areas[0])
        has_collapsed = mean < COLLAPSED_SHARE * pseudo
        verdict = ': the decoder has collapsed, and its maps are not to be used' if has_collapsed else ''
        print_log(
            f'Predicted area {mean:.3f}, pseudo masks in training {pseudo:.3f}{verdict}; {empty:.0f} of '
            f'{number:.0f} predictions are empty: their box is the whole image',
            'current',
            level=logging.WARNING if has_collapsed or empty else logging.INFO,
        )
