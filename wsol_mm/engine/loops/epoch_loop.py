"""Training by epochs that can be resumed within an epoch."""

from wsol_mm.datasets.samplers.placed_sampler import PlacedSampler
from wsol_mm.registry import LOOPS

from mmengine.runner import EpochBasedTrainLoop


@LOOPS.register_module()
class EpochLoop(EpochBasedTrainLoop):
    """MMEngine's loop over epochs (same arguments), which goes on in the middle of one.

    A checkpoint with more steps than its whole epochs have was saved within an epoch: the samples of the
    steps that are done are left out. Hooks are told of the beginning of this epoch again.
    """

    def run_epoch(self) -> None:
        """Train an epoch, or the rest of it."""
        self.runner.call_hook('before_train_epoch')
        self.runner.model.train()
        done = self._iter - self._epoch * len(self.dataloader)
        batch_sampler = self.dataloader.batch_sampler
        if not isinstance(batch_sampler.sampler, PlacedSampler) or not 0 < done <= len(self.dataloader):
            done = 0
        if done < len(self.dataloader):
            if done:
                batch_sampler.sampler.start_at(done * batch_sampler.batch_size)
            for idx, data_batch in enumerate(self.dataloader, done):
                self.run_iter(idx, data_batch)
        self.runner.call_hook('after_train_epoch')
        self._epoch += 1
