# Everything of TriLite on CUB but the model. Trained on 224x224 crops, tested on 448x448.
_base_ = [
    '../../_base_/datasets/cub.py',
    '../../_base_/pipelines/squash_448.py',
    './schedule_200e.py',
    '../../_base_/default_runtime.py',
]

train_dataloader = dict(batch_size=128)
val_dataloader = dict(dataset=dict(pipeline=_base_.squash_448))
test_dataloader = dict(dataset=dict(pipeline=_base_.squash_448))
auto_scale_lr = dict(base_batch_size=128)

# Validation runs on the test images, and chooses nothing: the last checkpoint is the result.
val_evaluator = dict(type='LocalizationMetric', protocols=['trilite'], tuned_on='cub')
test_evaluator = val_evaluator
default_hooks = dict(visualization=dict(protocol=dict(name='trilite', tuned_on='cub'), threshold=0.5))
randomness = dict(seed=42)
