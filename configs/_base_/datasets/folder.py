# Images of one's own: data/my_images/train/<class>/ and data/my_images/val/<class>/. Pipelines are those of
# cub.py, except that photographs are turned as their EXIF orientation says.
_base_ = './cub.py'

# Of the head until the data, or the checkpoint, say how many there are; another number stays as it is.
default_num_classes = 2

dataset_type = 'FolderDataset'
data_root = 'data/my_images'

load_image = dict(type='LoadImageWithPillow', apply_exif=True)
train_pipeline = [load_image, *_base_.random_crop_224[1:]]
test_pipeline = [load_image, *_base_.squash_224[1:]]

train_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type=dataset_type,
        data_root=data_root,
        data_prefix='train',
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type=dataset_type,
        data_root=data_root,
        data_prefix='val',
        # classes are numbered as in training, even if one has no image here
        class_folder='train',
        # Boxes are for measuring only. With those of these images in data/my_images/boxes.csv (a line is
        # `path,x0,y0,x1,y1`; COCO's .json and a folder of Pascal VOC .xml files serve, too), --cfg-options
        # val_dataloader.dataset.box_source=boxes.csv test_dataloader.dataset.box_source=boxes.csv
        box_source=None,
        test_mode=True,
        pipeline=test_pipeline,
    ),
)
test_dataloader = val_dataloader
