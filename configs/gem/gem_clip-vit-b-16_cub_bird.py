# The maps are those of 'bird', whose patches CLIP knows better than those of a species, which looks like the
# others. The species still decide the class.
_base_ = './gem_clip-vit-b-16_cub.py'

model = dict(map_prompt='a photo of a bird.')
