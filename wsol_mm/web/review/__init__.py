"""Boxes in a browser: the least certain first, judged, corrected, and exported as COCO again."""
