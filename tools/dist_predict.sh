#!/usr/bin/env bash
# Predict the images of a folder in several processes, one per GPU (on the CPU where there is none).
#
#   bash tools/dist_predict.sh CONFIG CHECKPOINT FOLDER GPUS --out OUT [other options of tools/predict.py]
#
# A process that dies is started again, and goes on with its part after the last batch that was done. The first
# process puts the parts together when all are done; several machines need a common disk for that.
#
# Environment: MAX_RESTARTS (3), NNODES (1), NODE_RANK (0), MASTER_ADDR (127.0.0.1), PORT (29500), PYTHON.
set -euo pipefail
source "$(dirname -- "${BASH_SOURCE[0]}")/launch_functions.sh"

[[ $# -ge 4 ]] ||
    fail 'usage: bash tools/dist_predict.sh CONFIG CHECKPOINT FOLDER GPUS --out OUT [options of tools/predict.py]'
config=$1 checkpoint=$2 folder=$3 gpus=$4
shift 4
require_whole_number MAX_RESTARTS "${MAX_RESTARTS:-3}" 0
torchrun_options=(--max-restarts="${MAX_RESTARTS:-3}")
run_processes predict.py "$gpus" "$config" "$checkpoint" "$folder" "$@"
