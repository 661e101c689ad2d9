# FGVC Aircraft, classified by variant, squashed to squares as in cub.py; the layouts that are read are in
# docs/datasets.md.
_base_ = './cub.py'

dataset_type = 'FGVCAircraft'
data_root = 'data/fgvc-aircraft-2013b'

train_dataloader = dict(dataset=dict(type=dataset_type, data_root=data_root, split='trainval'))
val_dataloader = dict(dataset=dict(type=dataset_type, data_root=data_root))
test_dataloader = val_dataloader
