# ACoL on ResNet-50.
_base_ = ['../../_base_/models/resnet50.py', '../../_base_/schedules/sgd-layer4-x10.py']

model = dict(head=dict(type='ACoLHead', erase_threshold=0.57, conv_init='kaiming'))
