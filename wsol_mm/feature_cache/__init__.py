"""Outputs of a frozen backbone on disk: computed once, read at every epoch."""
