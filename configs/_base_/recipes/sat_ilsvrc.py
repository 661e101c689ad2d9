# Everything of SAT on ILSVRC but the model. One crop at test time.
_base_ = [
    '../datasets/ilsvrc-center-crop.py',
    '../schedules/sat_1e.py',
    '../default_runtime.py',
]

# The reference trains with 128 images on each of 4 GPUs and drops the last partial batch; the area loss is
# that of each GPU's images. On N other GPUs set batch_size=512/N. With another total, --auto-scale-lr scales
# the learning rate, which the reference never does.
train_dataloader = dict(batch_size=128, drop_last=True)
val_dataloader = dict(batch_size=128)
test_dataloader = dict(batch_size=128)
auto_scale_lr = dict(base_batch_size=512)

# Validation and test are the same images, as in the reference: during training, the threshold is chosen on
# them.
val_evaluator = dict(
    type='LocalizationMetric',
    protocols=[dict(name='sat', dataset='ilsvrc', thresholds=(0.3, 0.35, 0.4, 0.45))],
)
test_evaluator = dict(type='LocalizationMetric', protocols=['sat'], dataset='ilsvrc')
default_hooks = dict(
    # The best sum is the one that the reference goes on with.
    checkpoint=dict(
        save_best=['sat/GT-known+Top-1_Loc', 'sat/GT-known_Loc_agnostic', 'sat/Top-1_Loc'], rule='greater'
    ),
    visualization=dict(protocol=dict(name='sat', dataset='ilsvrc')),
)
randomness = dict(seed=6, diff_rank_seed=True, deterministic=True)
