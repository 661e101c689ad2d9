# Everything of SAT but model and data, for Stanford Dogs, Stanford Cars, FGVC Aircraft and OpenImages: the
# recipe of CUB, whose options the reference gives for all of them, with one crop at test time. To be
# inherited beside a data set base; a config then sets the test pipeline, squash_crop_224, and
# train_dataloader.batch_size=64, for 4 GPUs (256/N on N others, because the reference does not scale its
# learning rate with the batch).
_base_ = [
    '../../_base_/pipelines/squash-crop_224.py',
    './schedule_30e.py',
    '../../_base_/default_runtime.py',
]

# The reference trains in one process, so that its area loss is that of the images on all GPUs.
area_loss = dict(across_ranks=True)
auto_scale_lr = dict(base_batch_size=256)

# Validation and test are the same images, as in the reference: checkpoint and, during training, threshold are
# chosen on them. The test's threshold is the one that was tuned on CUB, for the other data sets too.
val_evaluator = dict(
    type='LocalizationMetric',
    protocols=[dict(name='sat', tuned_on='cub', thresholds=(0.3, 0.35, 0.4, 0.45))],
)
test_evaluator = dict(type='LocalizationMetric', protocols=['sat'], tuned_on='cub')
default_hooks = dict(
    # The best sum is the one that the reference goes on with.
    checkpoint=dict(
        save_best=['sat/GT-known+Top-1_Loc', 'sat/GT-known_Loc_agnostic', 'sat/Top-1_Loc'], rule='greater'
    ),
    visualization=dict(protocol=dict(name='sat', tuned_on='cub')),
)
randomness = dict(seed=6, deterministic=True)
