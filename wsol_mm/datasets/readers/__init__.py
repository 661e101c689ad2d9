"""Readers of the annotation, list and image files that data sets come with."""
