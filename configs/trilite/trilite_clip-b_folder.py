_base_ = ['../_base_/models/clip-b.py', '../_base_/settings/frozen_folder.py', './_base_/head.py']

model = dict(head=dict(**_base_.trilite_head, num_classes=2))
val_evaluator = dict(type='LocalizationMetric', protocols=['trilite', 'maxboxacc'])
test_evaluator = val_evaluator
default_hooks = dict(visualization=dict(protocol='trilite', threshold=0.5))
