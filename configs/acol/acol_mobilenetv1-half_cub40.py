# ACoL in the common small setting, from scratch, with narrow classifiers.
_base_ = ['../_base_/models/mobilenetv1-half.py', '../_base_/settings/cub40-scratch.py']

model = dict(head=dict(type='ACoLHead', num_classes=40, hidden_channels=(256, 256), erase_threshold=0.7))
