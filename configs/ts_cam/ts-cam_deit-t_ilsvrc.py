_base_ = ['../_base_/models/deit-t.py', './_base_/ilsvrc.py']

model = dict(head=dict(type='TSCAMHead', num_classes=1000))

# The reference trains this size with 128 images in all.
train_dataloader = dict(batch_size=32)
auto_scale_lr = dict(base_batch_size=128)
