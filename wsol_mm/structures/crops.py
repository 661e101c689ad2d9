"""Several crops of one image as one input."""

#: Number of crops of an image where several are classified (``TenCrop``).
NUM_CROPS = 10

#: Which of them is the centre crop, the one that localization maps are made of.
CENTER_CROP = 4
