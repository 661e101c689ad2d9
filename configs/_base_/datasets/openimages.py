# OpenImages30k with the pipelines of SAT: training as in cub-center-crop.py; test images are squashed
# directly to 224x224, without crop, as the masks of wsolevaluation want it. Lists are in metadata/.
_base_ = './cub-center-crop.py'

dataset_type = 'OpenImages'
data_root = 'data/OpenImages'

load_image = dict(type='LoadImageWithPillow')
test_pipeline = [
    load_image,
    dict(type='Resize', scale=(224, 224), interpolation='bilinear', backend='pillow'),
    dict(type='LoadLocalizationMask'),
    dict(type='PackLocalizationInputs'),
]

train_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type=dataset_type,
        data_root=data_root,
        split='train',
        pipeline={{_base_.train_pipeline}},
    ),
)
val_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type=dataset_type,
        data_root=data_root,
        split='val',
        test_mode=True,
        pipeline=test_pipeline,
    ),
)
test_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type=dataset_type,
        data_root=data_root,
        split='test',
        test_mode=True,
        pipeline=test_pipeline,
    ),
)
