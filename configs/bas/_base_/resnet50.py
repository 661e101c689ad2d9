# ResNet-50 up to layer3 with stride 1, a map of an eighth of the image's sides; layer4 belongs to the head.
_base_ = '../../_base_/models/resnet50.py'

model = dict(
    backbone=dict(num_stages=3, strides=(1, 2, 1), dilations=(1, 1, 1), out_indices=(2,)),
    head=dict(type='BASHead', in_channels=1024, back_end=dict(type='ResNetBackEnd')),
)
