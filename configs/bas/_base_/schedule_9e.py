# SGD as BAS uses it on ILSVRC: nine epochs, with a tenth of the learning rate after each third.
_base_ = './schedule_100e.py'

param_scheduler = [dict(type='MultiStepLR', by_epoch=True, milestones=[3, 6], gamma=0.1)]
train_cfg = dict(max_epochs=9, val_interval=1)
