"""Hostile and malformed files for tools, by kind; test_tools/test_hostile_inputs.py tries them."""
