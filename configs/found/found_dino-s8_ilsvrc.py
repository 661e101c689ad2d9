_base_ = ['../_base_/models/dino-s8.py', './_base_/ilsvrc.py']

model = dict(
    head=dict(
        type='FOUNDHead',
        num_classes=1000,
        dropout=0.5,
        # What is published for the keys of this network.
        pseudo_masks=dict(type='BackgroundMasks', threshold=0.3),
        refinement=dict(type='BilateralRefinement'),
    )
)
