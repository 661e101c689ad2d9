# As adamw-late-cosine_80e.py (one epoch late, too), 14 epochs from 5e-4: CATR on ILSVRC. The highest rate
# reached is 4.0e-4, in the sixth epoch.
_base_ = './adamw-late-cosine_80e.py'

optim_wrapper = dict(optimizer=dict(lr=5e-4))
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
