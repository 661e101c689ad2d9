_base_ = ['../_base_/models/deit-t.py', '../_base_/recipes/ts-cam_cub.py']

model = dict(head=dict(type='TSCAMHead', num_classes=200, in_channels=192, cal_acc=True))
