# As adamw-late-cosine_80e.py (one epoch late, too), 14 epochs from 5e-4. The highest rate reached, in the
# sixth epoch, is 0.8 times this.
_base_ = './adamw-late-cosine_80e.py'

optim_wrapper = dict(optimizer=dict(lr=5e-4))
param_scheduler = [dict(_base_.param_scheduler[0], epochs=14)]
train_cfg = dict(max_epochs=14, val_interval=14)
