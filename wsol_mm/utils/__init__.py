"""Guards and helpers that belong to no single part of the flow."""
