_base_ = ['../_base_/models/dino-s.py', './_base_/ilsvrc.py']

model = dict(
    head=dict(
        type='TriLiteHead',
        num_classes=1000,
        region_dropout=0.25,
        dropout=0.25,
        background_loss=dict(loss_weight=500),
    )
)
