"""The drawn data set of embedded shapes."""

from .embedded_shapes import EmbeddedShapesSpec, draw_shape_image, write_embedded_shapes

__all__ = ['EmbeddedShapesSpec', 'draw_shape_image', 'write_embedded_shapes']
