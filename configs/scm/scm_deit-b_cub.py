# The reference states no learning rate for this backbone; DeiT-S's is used.
_base_ = ['../_base_/models/deit-b.py', './_base_/cub.py']

model = dict(head=dict(type='SCMHead', num_classes=200))
