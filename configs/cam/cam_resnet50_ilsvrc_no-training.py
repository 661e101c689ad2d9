_base_ = './_base_/ilsvrc_no-training.py'

model = dict(
    classifier=dict(type='TimmClassifier', model_name='resnet50.a1_in1k', pretrained=True),
    cam=dict(type='CAM'),
)
