# A second localizer in the common small setting.
_base_ = ['../_base_/models/vit-t.py', '../_base_/settings/cub40.py', './_base_/second.py']

model = dict(frozen=_base_.second_frozen, head=dict(**_base_.second_head, num_classes=40))
optim_wrapper = dict(paramwise_cfg=dict(custom_keys=_base_.second_rates))
train_pipeline = [*_base_.squash_224[:-1], *_base_.second_steps]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
test_evaluator = dict(type='LocalizationMetric', protocols=['maxboxacc', 'maxboxacc_v2'])
default_hooks = dict(checkpoint=dict(save_best=None), visualization=dict(protocol='found'))
