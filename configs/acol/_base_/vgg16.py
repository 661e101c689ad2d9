# ACoL on VGG16: pools of 3x3, and two that keep the size of the map before the head.
_base_ = ['../../_base_/models/vgg16.py', '../../_base_/schedules/sgd-head-x10.py']

model = dict(
    backbone=dict(pools=('max3', 'max3', 'max3', 'max3', ('max3_same', 'avg3_same'))),
    head=dict(type='ACoLHead', erase_threshold=0.89),
)
