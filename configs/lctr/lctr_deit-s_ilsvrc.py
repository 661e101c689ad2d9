_base_ = ['../_base_/models/deit-s.py', '../_base_/recipes/lctr_ilsvrc.py']

model = dict(
    backbone=dict(type='RelationalTransformer'),
    head=dict(type='LCTRHead', num_classes=1000, in_channels=384, cal_acc=True),
)
