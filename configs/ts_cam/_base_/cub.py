# Everything of TS-CAM on CUB but the model.
_base_ = [
    '../../_base_/datasets/cub.py',
    './schedule_60e.py',
    '../../_base_/default_runtime.py',
]

# The reference trains with 128 images in all, on one GPU; on others set batch_size=128/N or pass
# --auto-scale-lr.
train_dataloader = dict(batch_size=128)
val_dataloader = dict(batch_size=128)
test_dataloader = dict(batch_size=128)
auto_scale_lr = dict(base_batch_size=128)

# Validation and test are the same images, as in the reference: the best checkpoint is chosen on them.
val_evaluator = dict(type='LocalizationMetric', protocols=['ts_cam'], tuned_on='cub')
test_evaluator = val_evaluator
default_hooks = dict(
    checkpoint=dict(save_best=['ts_cam/GT-known_Loc', 'ts_cam/Top-1_Loc'], rule='greater'),
    visualization=dict(protocol=dict(name='ts_cam', tuned_on='cub')),
)
randomness = dict(seed=26, deterministic=True)
