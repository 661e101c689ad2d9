_base_ = ['../_base_/models/clip-b.py', './_base_/folder.py']

model = dict(
    head=dict(
        type='FOUNDHead',
        num_classes=2,
        dropout=0.5,
        pseudo_masks=dict(type='BackgroundMasks', target_area=0.3),
        mask_loss=dict(first_targets='pseudo'),
    )
)
