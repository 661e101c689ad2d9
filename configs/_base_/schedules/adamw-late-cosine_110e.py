# As adamw-late-cosine_80e.py, 110 epochs: CDTR on CUB.
_base_ = './adamw-late-cosine_80e.py'

param_scheduler = [
    dict(
        type='WarmupInCosineLR',
        epochs=110,
        warmup_epochs=5,
        warmup_lr=1e-6,
        min_lr=1e-5,
        one_epoch_late=True,
        by_epoch=True,
    )
]
train_cfg = dict(max_epochs=110, val_interval=110)
