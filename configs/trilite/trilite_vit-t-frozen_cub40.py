# TriLite in the common small setting, on a frozen supervised ViT-T: normed tokens, 40 epochs at a constant
# rate, batch 128, the last checkpoint.
_base_ = ['../_base_/models/vit-t-frozen.py', '../_base_/settings/frozen_cub40.py', './_base_/head.py']

model = dict(head=dict(**_base_.trilite_head, num_classes=40))
train_dataloader = dict(batch_size=128)
optim_wrapper = dict(
    _delete_=True,
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.01),
)
param_scheduler = []
train_cfg = dict(max_epochs=40, val_interval=40)
auto_scale_lr = dict(base_batch_size=128)

test_evaluator = dict(type='LocalizationMetric', protocols=['trilite', 'maxboxacc', 'maxboxacc_v2'])
default_hooks = dict(
    checkpoint=dict(save_best='maxboxacc/MaxBoxAcc_agnostic'),
    visualization=dict(protocol='trilite', threshold=0.5),
)
