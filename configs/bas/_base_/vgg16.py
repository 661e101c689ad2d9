# VGG16 up to conv4_3, a map of an eighth of the image's sides; conv5 belongs to the head.
_base_ = '../../_base_/models/vgg16.py'

model = dict(
    backbone=dict(pools=('max2', 'max2', 'max2', None)),
    head=dict(type='BASHead', in_channels=512, back_end=dict(type='VGGBackEnd'), conv_init='normal'),
)
