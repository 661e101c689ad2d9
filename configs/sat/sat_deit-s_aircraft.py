_base_ = [
    '../_base_/models/deit-s.py',
    '../_base_/datasets/aircraft.py',
    '../_base_/recipes/sat_fine-grained.py',
]

model = dict(
    backbone=dict(type='SpatialTokenTransformer'),
    head=dict(
        type='SATHead', num_classes=100, in_channels=384, cal_acc=True, area_loss=dict(across_ranks=True)
    ),
)
train_dataloader = dict(batch_size=64)
