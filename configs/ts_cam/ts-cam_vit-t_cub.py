_base_ = ['../_base_/models/vit-t.py', './_base_/cub.py']

model = dict(head=dict(type='TSCAMHead', num_classes=200))
