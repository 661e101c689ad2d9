# TS-CAM on a folder of one's own images: data/my_images/train/<class>/*.jpg and val/<class>/*.jpg.
# Set model.head.num_classes to the number of classes; see docs/datasets.md.
_base_ = ['../_base_/models/vit-t.py', './_base_/folder.py']

model = dict(head=dict(type='TSCAMHead', num_classes=2))
