# CAM on ResNet-50: a linear classifier behind layer4, as ImageNet's is.
_base_ = ['../../_base_/models/resnet50.py', '../../_base_/schedules/sgd-layer4-x10.py']

model = dict(head=dict(type='CAMHead', hidden_channels=(), conv_init='xavier'))
