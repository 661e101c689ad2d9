# AdamW as SCM uses it on ILSVRC: 1e-6 in epochs 1-9, 1e-7 in 10-11, 1e-8 in 12-19, 1e-9 in 20.
# The rule: the rate falls at the start of every epoch whose number (from 1) is a multiple of a step.
_base_ = './schedule_30e.py'

optim_wrapper = dict(optimizer=dict(lr=1e-6))
param_scheduler = [dict(type='ModuloStepLR', steps=[10, 12], gamma=0.1, by_epoch=True, end=20)]
train_cfg = dict(max_epochs=20)
