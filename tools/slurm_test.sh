#!/usr/bin/env bash
# Test on a Slurm cluster, one task per GPU.
#
#   bash tools/slurm_test.sh PARTITION JOB_NAME CONFIG CHECKPOINT [options of tools/test.py]
#
# Environment: GPUS (8), GPUS_PER_NODE (8), CPUS_PER_TASK (5), SRUN_ARGS (more options of srun), PORT, PYTHON.
set -euo pipefail
source "$(dirname -- "${BASH_SOURCE[0]}")/launch_functions.sh"

[[ $# -ge 4 ]] ||
    fail 'usage: bash tools/slurm_test.sh PARTITION JOB_NAME CONFIG CHECKPOINT [options of tools/test.py]'
partition=$1 job_name=$2 config=$3 checkpoint=$4
shift 4
run_on_slurm "$partition" "$job_name" test.py "$config" "$checkpoint" "$@"
