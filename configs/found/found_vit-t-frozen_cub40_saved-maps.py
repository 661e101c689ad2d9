# Pseudo masks: maps of the training images that another model has made, <source>/<image>.npz.
_base_ = './found_vit-t-frozen_cub40.py'

model = dict(head=dict(pseudo_masks=dict(_delete_=True, type='SavedMapMasks', target_area=0.3)))
maps = dict(type='LoadPseudoMap', source='maps', size=14)
train_dataloader = dict(
    dataset=dict(pipeline=[*_base_.mirrored_model[:-1], maps, dict(type='PackLocalizationInputs')])
)
