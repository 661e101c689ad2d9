# CutMix on Inception v3: CAM on batches of which 30% are mixed.
_base_ = '../../cam/_base_/inceptionv3.py'

model = dict(train_cfg=dict(augments=dict(type='CutMix', alpha=0.04), probs=0.3))
