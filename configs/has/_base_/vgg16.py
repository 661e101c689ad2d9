# HaS on VGG16: CAM on images of which cells of 4x4 pixels are hidden.
_base_ = '../../cam/_base_/vgg16.py'

model = dict(train_cfg=dict(augments=dict(type='HideAndSeek', grid_size=4, drop_rate=0.47)))
