# CATR on the drawn images of the quickstart.
_base_ = '../_base_/settings/shapes.py'

model = dict(
    head=dict(type='CATRHead', num_classes=10, num_layers=3, num_heads=4, ocm=dict(num_layers=3)),
)
