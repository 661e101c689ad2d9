# Half the epochs of DeiT-S: the learning rate falls once, in the last one. The reference states no rate for
# this backbone; DeiT-S's is used.
_base_ = ['../_base_/models/deit-b.py', './_base_/ilsvrc.py']

model = dict(head=dict(type='SCMHead', num_classes=1000))

param_scheduler = [dict(type='ModuloStepLR', steps=[10, 12], gamma=0.1, by_epoch=True, end=10)]
train_cfg = dict(max_epochs=10)
