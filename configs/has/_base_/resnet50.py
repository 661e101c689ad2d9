# HaS on ResNet-50: CAM on images of which cells of 120x120 pixels are hidden.
_base_ = '../../cam/_base_/resnet50.py'

model = dict(train_cfg=dict(augments=dict(type='HideAndSeek', grid_size=120, drop_rate=0.66)))
