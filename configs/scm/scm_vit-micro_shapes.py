# SCM on the drawn images of the quickstart.
_base_ = '../_base_/recipes/shapes.py'

model = dict(head=dict(type='SCMHead', num_classes=10, in_channels=128, cal_acc=True))
