_base_ = ['../_base_/models/deit-b.py', './_base_/ilsvrc.py']

model = dict(head=dict(type='TSCAMHead', num_classes=1000))
