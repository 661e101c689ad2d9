#!/usr/bin/env bash
# Run the tests, in an environment that has what they need (see tools/setup_env.sh).
#
#   bash tools/run_tests.sh [options of pytest]
#
# Without options, everything but the tests marked slow, in a process for every core (at most four): `-m slow` runs
# those, `-m ''` all, `-n 0` in one process.
set -euo pipefail

repo_dir="$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)"
python="$(bash "$repo_dir/tools/setup_env.sh" tests)"
# The tests' models are tiny: threads would only wait for each other.
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}"
cd -- "$repo_dir"
# By files: what a module's fixtures make is made once.
exec "$python" -m pytest -n auto --maxprocesses 4 --dist loadfile "$@"
