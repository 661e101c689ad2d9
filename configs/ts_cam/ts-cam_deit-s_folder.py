# TS-CAM on a folder of one's own images: data/my_images/train/<class>/*.jpg and val/<class>/*.jpg.
# The number of classes is that of the data; see docs/datasets.md.
_base_ = ['../_base_/models/deit-s.py', './_base_/folder.py']

model = dict(head=dict(type='TSCAMHead', num_classes=2))
