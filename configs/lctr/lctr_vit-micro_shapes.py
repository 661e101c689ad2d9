# LCTR on the drawn images of the quickstart.
_base_ = '../_base_/settings/shapes.py'

model = dict(backbone=dict(type='RelationalTransformer'), head=dict(type='LCTRHead', num_classes=10))
