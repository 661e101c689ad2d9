# OpenImages30k, squashed to squares as in cub.py; test images are not cropped, as the masks of wsolevaluation
# want it. Lists are in metadata/.
_base_ = './cub.py'

dataset_type = 'OpenImages'
data_root = 'data/OpenImages'

mask_pipeline = [*_base_.squash_224[:-1], dict(type='LoadLocalizationMask'), _base_.squash_224[-1]]

train_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type=dataset_type,
        data_root=data_root,
        split='train',
        pipeline=_base_.random_crop_224,
    ),
)
val_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type=dataset_type,
        data_root=data_root,
        split='val',
        test_mode=True,
        pipeline=mask_pipeline,
    ),
)
test_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type=dataset_type,
        data_root=data_root,
        split='test',
        test_mode=True,
        pipeline=mask_pipeline,
    ),
)
