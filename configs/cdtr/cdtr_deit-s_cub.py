_base_ = ['../_base_/models/deit-s.py', './_base_/cub.py']

model = dict(head=dict(type='CDTRHead', num_classes=200, **_base_.modules))
