# HaS on Inception v3: CAM on images of which cells of 170x170 pixels are hidden.
_base_ = '../../cam/_base_/inceptionv3.py'

model = dict(train_cfg=dict(augments=dict(type='HideAndSeek', grid_size=170, drop_rate=0.26)))
