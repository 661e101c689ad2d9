_base_ = ['../_base_/models/deit-s.py', '../_base_/recipes/scm_ilsvrc.py']

model = dict(head=dict(type='SCMHead', num_classes=1000, in_channels=384, cal_acc=True))
