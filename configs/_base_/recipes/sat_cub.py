# Everything of SAT on CUB but the model. The test classifies ten crops and localizes the centre crop.
_base_ = [
    '../datasets/cub-ten-crop.py',
    '../schedules/sat_30e.py',
    '../default_runtime.py',
]

# The reference trains with 64 images on each of 4 GPUs, in one process, so that its area loss is that of all
# 256 images (see model.head.area_loss). On N other GPUs set batch_size=256/N. With another
# total, --auto-scale-lr scales the learning rate, which the reference never does.
train_dataloader = dict(batch_size=64)
val_dataloader = dict(batch_size=128)
test_dataloader = dict(batch_size=16)
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
