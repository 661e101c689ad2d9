# ADL on VGG16: CAM with attention-based dropout in three places.
_base_ = '../../cam/_base_/vgg16.py'

model = dict(
    inserts=[
        dict(
            type='AttentionDropout',
            after=('backbone.pool3', 'backbone.relu4_3', 'backbone.relu5_3'),
            drop_rate=0.33,
            threshold=0.72,
        )
    ],
)
