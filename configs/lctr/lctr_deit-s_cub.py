_base_ = ['../_base_/models/deit-s.py', './_base_/cub.py']

model = dict(backbone=dict(type='RelationalTransformer'), head=dict(type='LCTRHead', num_classes=200))
