# MobileNet v1 up to block 11, a map of an eighth of the image's sides; the last two belong to the head.
_base_ = '../../_base_/models/mobilenetv1.py'

model = dict(
    backbone=dict(strides=(2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 1, 1)),
    head=dict(type='BASHead', in_channels=512, back_end=dict(type='MobileNetBackEnd')),
)
