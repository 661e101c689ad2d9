"""A model behind HTTP: images in, boxes or pictures out."""
