# A trained ImageNet classifier on ILSVRC as it is; a config adds `classifier` and `cam`. Nothing is trained:
# python tools/test.py CONFIG none
_base_ = [
    '../../_base_/datasets/ilsvrc.py',
    '../../_base_/pipelines/squash_model.py',
    '../../_base_/settings/no-training.py',
    '../../_base_/default_runtime.py',
]

# Mean, standard deviation and image size are those of the classifier.
data_preprocessor = dict(_delete_=True, type='LocalizationDataPreprocessor')
train_dataloader = None
val_dataloader = dict(batch_size=64, dataset=dict(pipeline=_base_.squash_model))
test_dataloader = val_dataloader
model = dict(type='ClassifierLocalizer')
