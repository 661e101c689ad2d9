# A second localizer on a folder of one's own images.
_base_ = ['../_base_/models/vit-t.py', '../_base_/settings/folder.py', './_base_/second.py']

model = dict(frozen=_base_.second_frozen, head=dict(**_base_.second_head, num_classes=2))
optim_wrapper = dict(paramwise_cfg=dict(custom_keys=_base_.second_rates))
train_pipeline = [*_base_.test_pipeline[:-1], *_base_.second_steps]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_evaluator = dict(type='LocalizationMetric', protocols=['found', 'maxboxacc', 'maxboxacc_v2'])
test_evaluator = val_evaluator
default_hooks = dict(visualization=dict(protocol='found'))
