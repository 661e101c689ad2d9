_base_ = ['../_base_/models/dinov2-reg-s.py', '../_base_/settings/frozen_folder.py']

model = dict(head=dict(type='GraphCutHead', num_classes=2, features='tokens', threshold=0.4, as_mask=True))
val_evaluator = dict(type='LocalizationMetric', protocols=['maxboxacc', 'maxboxacc_v2'])
test_evaluator = val_evaluator
default_hooks = dict(visualization=dict(protocol='maxboxacc', threshold=0.5))
