"""Checks of what a data set has read, made when it starts."""
