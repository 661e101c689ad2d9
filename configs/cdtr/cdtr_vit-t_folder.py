# CDTR on a folder of one's own images: data/my_images/train/<class>/*.jpg and val/<class>/*.jpg.
# The number of classes is that of the data; see docs/datasets.md. CLIP is told the names of the
# folders: call them what is on the images, or give other names by model.head.sba.class_names.
_base_ = ['../_base_/models/vit-t.py', '../_base_/settings/folder.py']

model = dict(
    head=dict(
        type='CDTRHead',
        num_classes=2,
        num_heads=3,
        # Every image is compared with the name of its own class, unlike in the reference.
        sba=dict(loss_weight=2.4, prompt_index='label'),
    ),
)

val_evaluator = dict(type='LocalizationMetric', protocols=['cdtr', 'maxboxacc'])
test_evaluator = val_evaluator
default_hooks = dict(visualization=dict(protocol='cdtr'))
custom_hooks = [dict(type='ClassNamesHook')]
