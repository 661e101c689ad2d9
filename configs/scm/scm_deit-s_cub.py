_base_ = ['../_base_/models/deit-s.py', './_base_/cub.py']

model = dict(head=dict(type='SCMHead', num_classes=200))

# 16 images in the reference's last commit; 256, as for the other backbones, in its text and until July 2022.
train_dataloader = dict(batch_size=16)
auto_scale_lr = dict(base_batch_size=16)
