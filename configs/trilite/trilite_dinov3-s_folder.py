_base_ = ['../_base_/models/dinov3-s.py', '../_base_/settings/frozen_folder.py']

model = dict(head=dict(type='TriLiteHead', num_classes=2, tokens='normed', region_dropout=0.5, dropout=0.5))
val_evaluator = dict(type='LocalizationMetric', protocols=['trilite', 'maxboxacc'])
test_evaluator = val_evaluator
default_hooks = dict(visualization=dict(protocol='trilite', threshold=0.5))
