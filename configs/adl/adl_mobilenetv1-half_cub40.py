# ADL in the common small setting, from scratch, behind three of the last layers.
_base_ = '../cam/cam_mobilenetv1-half_cub40.py'

model = dict(
    inserts=[
        dict(
            type='AttentionDropout',
            after=('backbone.model.8', 'backbone.model.11', 'backbone.model.13'),
            drop_rate=0.5,
            threshold=0.9,
        )
    ]
)
