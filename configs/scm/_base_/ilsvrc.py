# Everything of SCM on ILSVRC but the model.
_base_ = [
    '../../_base_/datasets/ilsvrc.py',
    './schedule_20e.py',
    '../../_base_/default_runtime.py',
]

# The reference trains with 512 images in all on 2 GPUs; on other numbers of GPUs set batch_size=512/N or pass
# --auto-scale-lr.
train_dataloader = dict(batch_size=256)
val_dataloader = dict(batch_size=128)
test_dataloader = dict(batch_size=128)
auto_scale_lr = dict(base_batch_size=512)

# Validation and test are the same images, as in the reference: the best checkpoint is chosen on them, by the
# boxes of the predicted class's map at the best of 100 thresholds.
val_evaluator = dict(type='LocalizationMetric', protocols=['scm'], tuned_on='ilsvrc')
test_evaluator = val_evaluator
default_hooks = dict(checkpoint=dict(save_best='scm/GT-Known_top-1', rule='greater'))
randomness = dict(seed=26, deterministic=True)
