_base_ = ['../_base_/models/dino-s.py', './_base_/ilsvrc.py']

# The reference takes DINO's tokens after the final normalisation.
model = dict(
    head=dict(
        type='TriLiteHead',
        num_classes=1000,
        tokens='normed',
        region_dropout=0.25,
        dropout=0.25,
        background_loss=dict(loss_weight=500),
    )
)
