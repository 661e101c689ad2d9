# AdamW as TS-CAM uses it on CUB: 5e-5 in epochs 1-29, 5e-6 in 30-59, 5e-7 in 60.
# The rule: the rate falls at the start of every epoch whose number (from 1) is a multiple of a step.
_base_ = '../../_base_/schedules/adamw-flat-decay.py'

param_scheduler = [dict(type='ModuloStepLR', steps=[30], gamma=0.1, by_epoch=True, end=60)]
train_cfg = dict(max_epochs=60)
