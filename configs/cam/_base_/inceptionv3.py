# CAM on Inception v3: two hidden convolutions with dropout, and a convolutional classifier.
_base_ = ['../../_base_/models/inceptionv3.py', '../../_base_/schedules/sgd-head-x10.py']

model = dict(
    head=dict(
        type='CAMHead', hidden_channels=(1024, 1024), dropout=0.5, classifier='conv', conv_init='xavier'
    )
)
