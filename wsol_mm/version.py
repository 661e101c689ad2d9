"""The version of wsol_mm, in one place."""

__version__ = '0.1.0'
