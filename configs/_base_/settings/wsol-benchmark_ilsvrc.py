# ILSVRC in the WSOL benchmark (Choe et al., CVPR 2020), everything but model and optimizer: 10 epochs, batch
# 32, a tenth of the rate from epochs 3, 6 and 9 on. Validation is on ImageNetV2 and chooses nothing: the last
# checkpoint is tested, and the best one only kept.
_base_ = ['../datasets/ilsvrc.py', '../datasets/imagenet-v2.py', '../default_runtime.py']

train_dataloader = dict(batch_size=32)
val_dataloader = dict(dataset=dict(_delete_=True, **_base_.imagenet_v2, pipeline=_base_.squash_224))
param_scheduler = [dict(type='ModuloStepLR', steps=[3], gamma=0.1, by_epoch=True, end=10)]
train_cfg = dict(by_epoch=True, max_epochs=10, val_interval=1)
val_cfg = dict()
test_cfg = dict()
auto_scale_lr = dict(base_batch_size=32)

val_evaluator = dict(type='LocalizationMetric', protocols=['maxboxacc', 'maxboxacc_v2'])
test_evaluator = val_evaluator
default_hooks = dict(checkpoint=dict(save_best='maxboxacc_v2/MaxBoxAccV2', rule='greater'))
