_base_ = ['../_base_/models/deit-s.py', '../_base_/recipes/catr_cub.py']

model = dict(head=dict(type='CATRHead', num_classes=200, in_channels=384, cal_acc=True))
