# Everything of TriLite on ILSVRC but the model. Trained on 224x224 crops, tested on 448x448.
_base_ = [
    '../../_base_/datasets/ilsvrc.py',
    '../../_base_/pipelines/squash_448.py',
    './schedule_200e.py',
    '../../_base_/default_runtime.py',
]

train_dataloader = dict(batch_size=256)
val_dataloader = dict(dataset=dict(pipeline=_base_.squash_448))
test_dataloader = dict(dataset=dict(pipeline=_base_.squash_448))
optim_wrapper = dict(
    optimizer=dict(lr=5e-6), paramwise_cfg=dict(custom_keys={'head.classifier': dict(lr_mult=50)})
)
train_cfg = dict(max_epochs=100)
auto_scale_lr = dict(base_batch_size=256)

# Any of several boxes may hit, as in the reference; validation chooses nothing.
val_evaluator = dict(type='LocalizationMetric', protocols=['trilite'], tuned_on='ilsvrc')
test_evaluator = val_evaluator
default_hooks = dict(visualization=dict(protocol=dict(name='trilite', tuned_on='ilsvrc'), threshold=0.5))
randomness = dict(seed=42)
