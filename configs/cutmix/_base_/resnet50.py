# CutMix on ResNet-50: CAM on batches of which 24% are mixed.
_base_ = '../../cam/_base_/resnet50.py'

model = dict(train_cfg=dict(augments=dict(type='CutMix', alpha=1.35), probs=0.24))
