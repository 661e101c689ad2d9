# ILSVRC 2012 with the pipelines and the sampler of CATR and CDTR (those of cub-deit-aug.py). The cdtr
# protocol takes the last ground-truth box of an image alone.
_base_ = './cub-deit-aug.py'

dataset_type = 'ILSVRC'
data_root = 'data/ILSVRC2012'

train_dataloader = dict(
    num_workers=8,
    dataset=dict(
        _delete_=True,
        type=dataset_type,
        data_root=data_root,
        split='train',
        pipeline={{_base_.train_pipeline}},
    ),
)
val_dataloader = dict(
    num_workers=8,
    dataset=dict(
        _delete_=True,
        type=dataset_type,
        data_root=data_root,
        split='val',
        box_source='ILSVRC2012_list/val_folder_new.txt',
        test_mode=True,
        pipeline={{_base_.test_pipeline}},
    ),
)
test_dataloader = val_dataloader
