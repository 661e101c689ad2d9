# CATR on the drawn images of the quickstart.
_base_ = '../_base_/recipes/shapes.py'

model = dict(
    head=dict(
        type='CATRHead',
        num_classes=10,
        in_channels=128,
        num_layers=3,
        num_heads=4,
        ocm=dict(num_layers=3),
        cal_acc=True,
    ),
)
