_base_ = ['../_base_/models/deit-s.py', './_base_/ilsvrc.py']

model = dict(head=dict(type='CATRHead', num_classes=1000, **_base_.modules))
