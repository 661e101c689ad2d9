# CUB in the WSOL benchmark (Choe et al., CVPR 2020), everything but model and optimizer: 50 epochs, batch 32,
# a tenth of the rate from epochs 15, 30 and 45 on. Validation is on CUBV2 and chooses nothing: the last
# checkpoint is tested, and the best one only kept.
_base_ = ['../datasets/cub.py', '../datasets/cub-v2.py', '../default_runtime.py']

train_dataloader = dict(batch_size=32)
val_dataloader = dict(dataset=dict(_delete_=True, **_base_.cub_v2, pipeline=_base_.squash_224))
param_scheduler = [dict(type='ModuloStepLR', steps=[15], gamma=0.1, by_epoch=True, end=50)]
train_cfg = dict(by_epoch=True, max_epochs=50, val_interval=1)
val_cfg = dict()
test_cfg = dict()
auto_scale_lr = dict(base_batch_size=32)

val_evaluator = dict(type='LocalizationMetric', protocols=['maxboxacc', 'maxboxacc_v2'])
test_evaluator = val_evaluator
default_hooks = dict(checkpoint=dict(save_best='maxboxacc_v2/MaxBoxAccV2', rule='greater'))
