# CutMix on VGG16: CAM on batches of which 79% are mixed.
_base_ = '../../cam/_base_/vgg16.py'

model = dict(train_cfg=dict(augments=dict(type='CutMix', alpha=0.85), probs=0.79))
