# Everything of SCM on CUB but the model.
_base_ = [
    '../../_base_/datasets/cub.py',
    './schedule_30e.py',
    '../../_base_/default_runtime.py',
]

# The reference trains with 256 images in all, on one GPU; on others set batch_size=256/N or pass
# --auto-scale-lr.
train_dataloader = dict(batch_size=256)
val_dataloader = dict(batch_size=128)
test_dataloader = dict(batch_size=128)
auto_scale_lr = dict(base_batch_size=256)

# Validation and test are the same images, as in the reference: the best checkpoint is chosen on them, by the
# boxes of the predicted class's map at the best of 100 thresholds.
val_evaluator = dict(type='LocalizationMetric', protocols=['scm'], tuned_on='cub')
test_evaluator = val_evaluator
default_hooks = dict(checkpoint=dict(save_best='scm/GT-Known_top-1', rule='greater'))
randomness = dict(seed=26, deterministic=True)
