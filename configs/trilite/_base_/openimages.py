# Everything of TriLite on OpenImages30k but the model. Trained on 448x448 crops, tested on 448x448.
_base_ = [
    '../../_base_/datasets/openimages.py',
    '../../_base_/pipelines/squash_448.py',
    './schedule_200e.py',
    '../../_base_/default_runtime.py',
]

mask_pipeline_448 = [*_base_.squash_448[:-1], dict(type='LoadLocalizationMask'), _base_.squash_448[-1]]
train_dataloader = dict(batch_size=32, dataset=dict(pipeline=_base_.random_crop_448))
val_dataloader = dict(dataset=dict(pipeline=mask_pipeline_448))
test_dataloader = dict(dataset=dict(pipeline=mask_pipeline_448))
optim_wrapper = dict(optimizer=dict(lr=1e-5))
train_cfg = dict(max_epochs=100)
auto_scale_lr = dict(base_batch_size=32)

# Validation chooses nothing: the last checkpoint is the result.
val_evaluator = dict(type='PixelAveragePrecision', interval=0.005, protocol='trilite')
test_evaluator = val_evaluator
default_hooks = dict(visualization=dict(protocol=dict(name='trilite'), threshold=0.5))
randomness = dict(seed=42)
