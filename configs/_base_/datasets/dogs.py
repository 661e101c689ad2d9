# Stanford Dogs with the pipelines of SAT, those of cub-center-crop.py;
# the layouts that are read are in docs/datasets.md.
_base_ = './cub-center-crop.py'

dataset_type = 'StanfordDogs'
data_root = 'data/stanford_dogs'

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
        split='test',
        test_mode=True,
        pipeline={{_base_.test_pipeline}},
    ),
)
test_dataloader = val_dataloader
