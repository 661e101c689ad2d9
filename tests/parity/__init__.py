"""Checks of this library against outputs of reference implementations: one engine, adapters per method."""
