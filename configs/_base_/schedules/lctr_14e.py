# AdamW as LCTR uses it on ILSVRC: as lctr_80e.py (one epoch late, too), 14 epochs from 1e-3. The highest rate
# reached is 8.0e-4, in the sixth epoch.
_base_ = './lctr_80e.py'

optim_wrapper = dict(optimizer=dict(lr=1e-3))
param_scheduler = [
    dict(
        type='WarmupInCosineLR',
        epochs=14,
        warmup_epochs=5,
        warmup_lr=1e-6,
        min_lr=1e-5,
        one_epoch_late=True,
        by_epoch=True,
    )
]
train_cfg = dict(max_epochs=14, val_interval=14)
