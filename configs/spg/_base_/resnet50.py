# SPG on ResNet-50: branches behind the first and the last block of layer3.
_base_ = ['../../_base_/models/resnet50.py', '../../_base_/schedules/sgd-layer4-x10.py']

model = dict(
    stages=('layer3.0', 'layer3'),
    head=dict(
        type='SPGHead',
        stage_channels=(1024, 1024),
        hidden_channels=(),
        b_channels=1024,
        guidance=dict(thresholds=((0.41, 0.35), (0.24, 0.21), (0.12, 0.08))),
    ),
)
