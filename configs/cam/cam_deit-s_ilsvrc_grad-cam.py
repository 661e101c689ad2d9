_base_ = './_base_/ilsvrc_no-training.py'

model = dict(
    classifier=dict(type='TimmClassifier', model_name='deit_small_patch16_224.fb_in1k', pretrained=True),
    cam=dict(type='GradCAM'),
)
