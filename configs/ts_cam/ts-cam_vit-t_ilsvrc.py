_base_ = ['../_base_/models/vit-t.py', '../_base_/recipes/ts-cam_ilsvrc.py']

model = dict(head=dict(type='TSCAMHead', num_classes=1000, in_channels=192, cal_acc=True))
