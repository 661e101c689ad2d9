_base_ = ['../_base_/datasets/ilsvrc.py', './_base_/no-training.py']

# The names with which CLIP was published; class_names='ilsvrc' are the lemmas of WordNet.
model = dict(class_names='ilsvrc-clip')
# Mean and standard deviation are those of the weights.
data_preprocessor = dict(_delete_=True, type='LocalizationDataPreprocessor')
train_dataloader = None
val_dataloader = dict(batch_size=16, dataset=dict(pipeline=_base_.squash_448_bicubic))
test_dataloader = val_dataloader
