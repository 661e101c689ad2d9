"""What is command line: arguments and their types, launching, and errors in one line.

Nothing here imports PyTorch when it is imported itself, so that ``--help`` and an error in the arguments
answer at once. A tool parses its arguments with what is here, and imports what does the work afterwards,
inside the functions that need it.
"""
