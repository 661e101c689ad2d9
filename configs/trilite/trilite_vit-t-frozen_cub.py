_base_ = ['../_base_/models/vit-t-frozen.py', './_base_/cub.py']

model = dict(head=dict(type='TriLiteHead', num_classes=200, region_dropout=0.5, dropout=0.5))
