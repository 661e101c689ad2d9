_base_ = ['../_base_/models/dinov2-s.py', './_base_/openimages.py']

model = dict(head=dict(type='TriLiteHead', num_classes=100, dropout=0.5, background_loss=dict(loss_weight=3)))
