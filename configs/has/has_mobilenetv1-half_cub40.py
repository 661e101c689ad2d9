# HaS in the common small setting, from scratch: cells of 32 pixels, each hidden with probability 0.5.
_base_ = '../cam/cam_mobilenetv1-half_cub40.py'

model = dict(train_cfg=dict(augments=dict(type='HideAndSeek', grid_size=32, drop_rate=0.5)))
