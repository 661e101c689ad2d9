# AdamW as TS-CAM uses it on ILSVRC: 5e-4 in epochs 1-9, 5e-5 in 10-11, 5e-6 in 12-19, 5e-7 in 20.
# The rule: the rate falls at the start of every epoch whose number (from 1) is a multiple of a step.
_base_ = './schedule_60e.py'

optim_wrapper = dict(optimizer=dict(lr=5e-4))
param_scheduler = [dict(type='ModuloStepLR', steps=[10, 12], gamma=0.1, by_epoch=True, end=20)]
train_cfg = dict(max_epochs=20)
