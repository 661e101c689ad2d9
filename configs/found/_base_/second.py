# A second localizer, taught by the sharp maps of a first one (docs/sharper_boxes.md): classes and, by a 1x1
# convolution on the tokens of the last layer, masks. A config takes these as **_base_.second_head and so on.
second_head = dict(
    type='FOUNDHead',
    features='tokens',
    pseudo_masks=dict(type='SavedMapMasks', threshold=0.5),
    # The saved maps alone, to the end.
    mask_loss=dict(first_phase=1_000_000, first_targets='pseudo', pseudo_weight=2.0),
)
# Six of twelve layers stay as they are: faster, and better for the classes of few images.
second_frozen = [
    'backbone.pos_embed',
    'backbone.cls_token',
    'backbone.patch_embed.*',
    'backbone.layers.[0-5].*',
]
# The classifier and the decoder are new, the backbone is not.
second_rates = {'head.classifier': dict(lr_mult=10.0), 'head.decoder': dict(lr_mult=10.0)}
# What a training pipeline ends in, behind one direct resize: the maps show whole images.
second_steps = [
    dict(type='RandomFlip', prob=0.5, direction='horizontal'),
    dict(type='LoadPseudoMap', source='maps', size=14, maps_of='all'),
    dict(type='PackLocalizationInputs'),
]
