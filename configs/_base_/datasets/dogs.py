# Stanford Dogs, squashed to squares as in cub.py; the layouts that are read are in docs/datasets.md.
_base_ = './cub.py'

dataset_type = 'StanfordDogs'
data_root = 'data/stanford_dogs'

train_dataloader = dict(dataset=dict(type=dataset_type, data_root=data_root))
val_dataloader = dict(dataset=dict(type=dataset_type, data_root=data_root))
test_dataloader = val_dataloader
