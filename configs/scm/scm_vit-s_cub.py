# The reference states no learning rate for this backbone; DeiT-S's is used.
_base_ = ['../_base_/models/vit-s.py', '../_base_/recipes/scm_cub.py']

model = dict(head=dict(type='SCMHead', num_classes=200, in_channels=768, cal_acc=True))
