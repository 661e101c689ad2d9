# CAM on VGG16: a hidden convolution before the linear classifier.
_base_ = ['../../_base_/models/vgg16.py', '../../_base_/schedules/sgd-head-x10.py']

model = dict(head=dict(type='CAMHead', hidden_channels=(1024,)))
