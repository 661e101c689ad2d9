# A second localizer, trained on the sharp maps of a first one: the whole ViT-T learns classes and, by a 1x1
# convolution on its tokens, the masks that the saved maps give, in the common small setting (12 epochs).
# docs/sharper_boxes.md says how the maps are made.
_base_ = ['../_base_/models/vit-t.py', '../_base_/settings/cub40.py']

model = dict(
    # Six of twelve layers stay as they are: faster, and better for the classes of few images.
    frozen=[
        'backbone.pos_embed',
        'backbone.cls_token',
        'backbone.patch_embed.*',
        'backbone.layers.[0-5].*',
    ],
    head=dict(
        type='FOUNDHead',
        num_classes=40,
        features='tokens',
        pseudo_masks=dict(type='SavedMapMasks', threshold=0.5),
        # The saved maps alone, to the end.
        mask_loss=dict(first_phase=1_000_000, first_targets='pseudo', pseudo_weight=2.0),
    ),
)
# The classifier is new, the backbone is not.
optim_wrapper = dict(
    paramwise_cfg=dict(
        custom_keys={'head.classifier': dict(lr_mult=10.0), 'head.decoder': dict(lr_mult=10.0)}
    )
)
train_pipeline = [
    *_base_.squash_224[:-1],
    dict(type='RandomFlip', prob=0.5, direction='horizontal'),
    dict(type='LoadPseudoMap', source='maps', size=14, maps_of='all'),
    dict(type='PackLocalizationInputs'),
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_evaluator = dict(type='LocalizationMetric', protocols=['maxboxacc', 'maxboxacc_v2'])
test_evaluator = val_evaluator
default_hooks = dict(
    checkpoint=dict(save_best='maxboxacc/MaxBoxAcc_agnostic'), visualization=dict(protocol='found')
)
