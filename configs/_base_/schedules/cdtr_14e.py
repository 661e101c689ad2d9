# AdamW as CDTR uses it on ILSVRC: 14 epochs from 2.5e-4. The highest rate reached is
# 2.0e-4, in the sixth epoch.
_base_ = './adamw-late-cosine_14e.py'

optim_wrapper = dict(optimizer=dict(lr=2.5e-4))
