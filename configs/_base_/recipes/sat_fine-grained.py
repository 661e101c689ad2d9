# Everything of SAT but model and data, for Stanford Dogs, Stanford Cars, FGVC Aircraft and OpenImages: the
# recipe of CUB, whose options the reference gives for all of them, with one crop at test time. To be
# inherited beside a data set base; a config then sets train_dataloader.batch_size=64, for 4 GPUs (256/N on N
# others, because the reference does not scale its learning rate with the batch).
_base_ = [
    '../schedules/sat_30e.py',
    '../default_runtime.py',
]

auto_scale_lr = dict(base_batch_size=256)

# Validation and test are the same images, as in the reference: checkpoint and, during training, threshold are
# chosen on them.
val_evaluator = dict(
    type='LocalizationMetric',
    protocols=[dict(name='sat', dataset='cub', thresholds=(0.3, 0.35, 0.4, 0.45))],
)
test_evaluator = dict(type='LocalizationMetric', protocols=['sat'], dataset='cub')
default_hooks = dict(
    # The best sum is the one that the reference goes on with.
    checkpoint=dict(
        save_best=['sat/GT-known+Top-1_Loc', 'sat/GT-known_Loc_agnostic', 'sat/Top-1_Loc'], rule='greater'
    ),
    visualization=dict(protocol=dict(name='sat', dataset='cub')),
)
randomness = dict(seed=6, deterministic=True)
