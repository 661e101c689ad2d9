# Everything of BAS on ILSVRC but the model. The test classifies ten crops and localizes the centre crop.
_base_ = [
    '../../_base_/datasets/ilsvrc.py',
    '../../_base_/pipelines/squash-crop_224.py',
    '../../_base_/pipelines/ten-crop_224.py',
    './schedule_9e.py',
    '../../_base_/default_runtime.py',
]

# The reference trains with 32 images on each of 4 GPUs; on N others set batch_size=128/N or pass
# --auto-scale-lr.
train_dataloader = dict(batch_size=32)
val_dataloader = dict(batch_size=64, dataset=dict(pipeline=_base_.squash_crop_224))
test_dataloader = dict(batch_size=8, dataset=dict(pipeline=_base_.ten_crop_224))
auto_scale_lr = dict(base_batch_size=128)

# Validation images are the test's. The reference takes the last checkpoint, not the best one.
val_evaluator = dict(type='LocalizationMetric', protocols=['bas'], tuned_on='ilsvrc')
test_evaluator = val_evaluator
default_hooks = dict(
    checkpoint=dict(save_best='bas/Top-1_Loc', rule='greater'),
    visualization=dict(protocol=dict(name='bas', tuned_on='ilsvrc')),
)
randomness = dict(seed=2)
