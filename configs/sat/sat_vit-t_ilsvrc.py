_base_ = ['../_base_/models/vit-t.py', '../_base_/recipes/sat_ilsvrc.py']

model = dict(
    backbone=dict(type='SpatialTokenTransformer'),
    head=dict(
        type='SATHead', num_classes=1000, in_channels=192, cal_acc=True, area_loss=dict(target_area=0.35)
    ),
)
