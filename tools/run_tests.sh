#!/usr/bin/env bash
# Run the tests, in an environment that has what they need (see tools/setup_env.sh).
#
#   bash tools/run_tests.sh [options of pytest]
#
# Without options, everything but the tests marked slow: `-m slow` runs those, `-m ''` all.
set -euo pipefail

repo_dir="$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)"
python="$(bash "$repo_dir/tools/setup_env.sh" tests)"
# The tests' models are tiny: threads would only wait for each other.
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}"
cd -- "$repo_dir"
exec "$python" -m pytest "$@"
