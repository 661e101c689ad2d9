_base_ = ['../_base_/models/deit-b.py', '../_base_/recipes/sat_cub.py']

model = dict(
    backbone=dict(type='SpatialTokenTransformer'),
    head=dict(
        type='SATHead', num_classes=200, in_channels=768, cal_acc=True, area_loss=dict(across_ranks=True)
    ),
)
