"""How fast the project is: run from the repository root, as ``python -m benchmarks.train CONFIG``."""

import wsol_mm  # noqa: F401  (first: cures a CUDA torchvision beside a CPU-only torch)
