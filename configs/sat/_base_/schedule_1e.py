# AdamW as SAT uses it on ILSVRC: one epoch at 1.5e-5. (The reference asks for five epochs and leaves the loop
# after the first.)
_base_ = './schedule_30e.py'

optim_wrapper = dict(optimizer=dict(lr=1.5e-5))
train_cfg = dict(max_epochs=1, val_begin=1)
