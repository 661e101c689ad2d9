"""What an export can be asked for, and how its result is checked: plain values, known without PyTorch."""

#: Whose maps an exported model returns: of its best classes, or of classes that are given with the images.
MAP_CHOICES = ('topk', 'labels')
#: Largest deviation of an exported model that is accepted.
TOLERANCE = 1e-4
#: Batch sizes that are compared: the smallest, and another than that of the export.
BATCH_SIZES = (1, 3)
