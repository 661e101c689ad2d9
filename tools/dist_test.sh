#!/usr/bin/env bash
# Test in several processes, one per GPU (on gloo where there is none).
#
#   bash tools/dist_test.sh CONFIG CHECKPOINT GPUS [options of tools/test.py]
#
# Environment: NNODES (1), NODE_RANK (0), MASTER_ADDR (127.0.0.1), PORT (29500), PYTHON.
set -euo pipefail
source "$(dirname -- "${BASH_SOURCE[0]}")/launch_functions.sh"

[[ $# -ge 3 ]] || fail 'usage: bash tools/dist_test.sh CONFIG CHECKPOINT GPUS [options of tools/test.py]'
config=$1 checkpoint=$2 gpus=$3
shift 3
run_processes test.py "$gpus" "$config" "$checkpoint" "$@"
