# AdamW as LCTR uses it on ILSVRC: 14 epochs from 1e-3. The highest rate reached is
# 8.0e-4, in the sixth epoch.
_base_ = './adamw-late-cosine_14e.py'

optim_wrapper = dict(optimizer=dict(lr=1e-3))
