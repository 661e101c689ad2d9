# CutMix in the common small setting, from scratch: every second batch is mixed.
_base_ = '../cam/cam_mobilenetv1-half_cub40.py'

model = dict(train_cfg=dict(augments=dict(type='CutMix', alpha=1.0), probs=0.5))
