# SCM on the drawn images of the quickstart.
_base_ = '../_base_/settings/shapes.py'

model = dict(head=dict(type='SCMHead', num_classes=10))
