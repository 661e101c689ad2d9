# CDTR on CUB: as adamw-late-cosine_80e.py, 110 epochs.
_base_ = '../../_base_/schedules/adamw-late-cosine_80e.py'

param_scheduler = [dict(_base_.param_scheduler[0], epochs=110)]
train_cfg = dict(max_epochs=110, val_interval=110)
