# Everything of TS-CAM on ILSVRC but the model.
_base_ = [
    '../../_base_/datasets/ilsvrc.py',
    './schedule_20e.py',
    '../../_base_/default_runtime.py',
]

# The reference trains with 256 images in all on 4 GPUs; on other numbers of GPUs set batch_size=256/N or pass
# --auto-scale-lr.
train_dataloader = dict(batch_size=64)
val_dataloader = dict(batch_size=64)
test_dataloader = dict(batch_size=64)
auto_scale_lr = dict(base_batch_size=256)

# Validation and test are the same images, as in the reference: the best checkpoint is chosen on them.
val_evaluator = dict(type='LocalizationMetric', protocols=['ts_cam'], tuned_on='ilsvrc')
test_evaluator = val_evaluator
default_hooks = dict(
    checkpoint=dict(save_best=['ts_cam/GT-known_Loc', 'ts_cam/Top-1_Loc'], rule='greater'),
    visualization=dict(protocol=dict(name='ts_cam', tuned_on='ilsvrc')),
)
randomness = dict(seed=26, deterministic=True)
