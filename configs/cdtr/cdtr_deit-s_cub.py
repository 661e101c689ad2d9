_base_ = ['../_base_/models/deit-s.py', '../_base_/recipes/cdtr_cub.py']

model = dict(
    head=dict(
        type='CDTRHead',
        num_classes=200,
        in_channels=384,
        cal_acc=True,
        sba=dict(loss_weight=2.4),
    ),
)
