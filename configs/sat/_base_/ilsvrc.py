# Everything of SAT on ILSVRC but the model. One crop at test time.
_base_ = [
    '../../_base_/datasets/ilsvrc.py',
    '../../_base_/pipelines/squash-crop_224.py',
    './schedule_1e.py',
    '../../_base_/default_runtime.py',
]

# The reference trains with 128 images on each of 4 GPUs and drops the last partial batch. On N other GPUs
# set batch_size=512/N. With another total, --auto-scale-lr scales the learning rate, which the reference
# never does.
train_dataloader = dict(batch_size=128, drop_last=True)
val_dataloader = dict(batch_size=128, dataset=dict(pipeline=_base_.squash_crop_224))
test_dataloader = dict(batch_size=128, dataset=dict(pipeline=_base_.squash_crop_224))
auto_scale_lr = dict(base_batch_size=512)
# That of each GPU's images, other than on CUB.
area_loss = dict(target_area=0.35)

# Validation and test are the same images, as in the reference: during training, the threshold is chosen on
# them.
val_evaluator = dict(
    type='LocalizationMetric',
    protocols=[dict(name='sat', tuned_on='ilsvrc', thresholds=(0.3, 0.35, 0.4, 0.45))],
)
test_evaluator = dict(type='LocalizationMetric', protocols=['sat'], tuned_on='ilsvrc')
default_hooks = dict(
    # The best sum is the one that the reference goes on with.
    checkpoint=dict(
        save_best=['sat/GT-known+Top-1_Loc', 'sat/GT-known_Loc_agnostic', 'sat/Top-1_Loc'], rule='greater'
    ),
    visualization=dict(protocol=dict(name='sat', tuned_on='ilsvrc')),
)
randomness = dict(seed=6, diff_rank_seed=True, deterministic=True)
