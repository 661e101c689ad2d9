# ADL on Inception v3: CAM with attention-based dropout in three places. No dropout beside it.
_base_ = '../../cam/_base_/inceptionv3.py'

model = dict(
    head=dict(dropout=0.0),
    inserts=[
        dict(
            type='AttentionDropout',
            after=('backbone.Mixed_5d', 'backbone.Mixed_6e', 'head.convs.1'),
            drop_rate=0.69,
            threshold=0.86,
        )
    ],
)
