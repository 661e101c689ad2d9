_base_ = ['../_base_/models/conformer-s.py', './_base_/ilsvrc.py']

model = dict(
    head=dict(type='TSCAMHead', num_classes=1000, conv_channels=1024, conv_init='kaiming'),
)

# The reference trains this size with 128 images in all.
train_dataloader = dict(batch_size=32)
auto_scale_lr = dict(base_batch_size=128)
