# SPG on Inception v3: branches behind the third pool and Mixed_6d.
_base_ = ['../../_base_/models/inceptionv3.py', '../../_base_/schedules/sgd-head-x10.py']

model = dict(
    stages=('maxpool3', 'Mixed_6d'),
    head=dict(
        type='SPGHead',
        stage_channels=(288, 768),
        hidden_channels=(1024, 1024),
        dropout=0.5,
        guidance=dict(thresholds=((0.28, 0.02), (0.17, 0.03), (0.47, 0.31))),
    ),
)
