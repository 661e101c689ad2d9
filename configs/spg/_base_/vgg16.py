# SPG on VGG16: branches behind the fourth and the fifth group. These groups learn as fast as the head, as
# they belong to it in the reference.
_base_ = ['../../_base_/models/vgg16.py', '../../_base_/schedules/sgd-head-x10.py']

model = dict(
    backbone=dict(pools=('max2', 'max2', 'max2', 'max3', None)),
    stages=('pool4', 'pool5'),
    head=dict(
        type='SPGHead',
        stage_channels=(512, 512),
        hidden_channels=(512, 512),
        guidance=dict(thresholds=((0.29, 0.23), (0.03, 0.02), (0.82, 0.59))),
    ),
)
optim_wrapper = dict(
    paramwise_cfg=dict(custom_keys={'backbone.conv4_': dict(lr_mult=10), 'backbone.conv5_': dict(lr_mult=10)})
)
