#!/usr/bin/env bash
# Train in several processes, one per GPU (on gloo where there is none).
#
#   bash tools/dist_train.sh CONFIG GPUS [options of tools/train.py]
#
# Environment: NNODES (1), NODE_RANK (0), MASTER_ADDR (127.0.0.1), PORT (29500), PYTHON.
set -euo pipefail
source "$(dirname -- "${BASH_SOURCE[0]}")/launch_functions.sh"

[[ $# -ge 2 ]] || fail 'usage: bash tools/dist_train.sh CONFIG GPUS [options of tools/train.py]'
config=$1 gpus=$2
shift 2
run_processes train.py "$gpus" "$config" "$@"
