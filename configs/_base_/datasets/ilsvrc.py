# ILSVRC 2012, squashed to squares as in cub.py. data_root holds train/<wnid>/, val/<wnid>/ (or flat val/) and
# the boxes; `box_source` may also be a folder with wsolevaluation's localization.txt, or the development
# kit's folder of XML files.
_base_ = './cub.py'

dataset_type = 'ILSVRC'
data_root = 'data/ILSVRC2012'

train_dataloader = dict(
    num_workers=8,
    dataset=dict(
        _delete_=True,
        type=dataset_type,
        data_root=data_root,
        split='train',
        pipeline=_base_.random_crop_224,
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
        pipeline=_base_.squash_224,
    ),
)
test_dataloader = val_dataloader
