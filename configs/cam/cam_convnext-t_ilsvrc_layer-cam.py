_base_ = './_base_/ilsvrc_no-training.py'

model = dict(
    classifier=dict(type='TimmClassifier', model_name='convnext_tiny.fb_in1k', pretrained=True),
    cam=dict(type='LayerCAM'),
)
