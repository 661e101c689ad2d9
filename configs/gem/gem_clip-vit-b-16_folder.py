# Any images and any names, without training and without labels:
# python tools/predict.py CONFIG none FOLDER --classes names.txt --out boxes.json
# To measure it, tools/test.py takes the images of data/my_images/val/ and the names of the folders in train/.
_base_ = ['../_base_/datasets/folder.py', './_base_/no-training.py']

load_image = dict(type='LoadImageWithPillow', apply_exif=True)
test_pipeline = [load_image, *_base_.squash_448_bicubic[1:]]

# Mean and standard deviation are those of the weights.
data_preprocessor = dict(_delete_=True, type='LocalizationDataPreprocessor')
train_dataloader = None
val_dataloader = dict(batch_size=16, dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
