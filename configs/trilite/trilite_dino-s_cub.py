_base_ = ['../_base_/models/dino-s.py', './_base_/cub.py']

# The reference takes DINO's tokens after the final normalisation.
model = dict(head=dict(type='TriLiteHead', num_classes=200, tokens='normed', region_dropout=0.5, dropout=0.5))
