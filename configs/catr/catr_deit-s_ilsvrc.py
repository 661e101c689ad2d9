_base_ = ['../_base_/models/deit-s.py', '../_base_/recipes/catr_ilsvrc.py']

model = dict(
    head=dict(
        type='CATRHead',
        num_classes=1000,
        in_channels=384,
        cal_acc=True,
        csm=dict(base_channels=256),  # the larger module of the ILSVRC variant
        ocm=dict(num_layers=10, area_loss=dict(ratio=0.1)),
    ),
)
