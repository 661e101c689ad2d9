# CAM in the common small setting, from scratch.
_base_ = ['../_base_/models/mobilenetv1-half.py', '../_base_/settings/cub40-scratch.py']

model = dict(head=dict(type='CAMHead', num_classes=40, hidden_channels=()))
