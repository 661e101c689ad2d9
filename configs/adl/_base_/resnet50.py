# ADL on ResNet-50: CAM with attention-based dropout in three places.
_base_ = '../../cam/_base_/resnet50.py'

model = dict(
    inserts=[
        dict(
            type='AttentionDropout',
            after=('backbone.layer3.0', 'backbone.layer4.0', 'backbone.layer4.2'),
            drop_rate=0.24,
            threshold=0.76,
        )
    ],
)
