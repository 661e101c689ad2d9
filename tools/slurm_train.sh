#!/usr/bin/env bash
# Train on a Slurm cluster, one task per GPU.
#
#   bash tools/slurm_train.sh PARTITION JOB_NAME CONFIG [WORK_DIR] [options of tools/train.py]
#
# Environment: GPUS (8), GPUS_PER_NODE (8), CPUS_PER_TASK (5), SRUN_ARGS (more options of srun), PORT, PYTHON.
set -euo pipefail
source "$(dirname -- "${BASH_SOURCE[0]}")/launch_functions.sh"

[[ $# -ge 3 ]] ||
    fail 'usage: bash tools/slurm_train.sh PARTITION JOB_NAME CONFIG [WORK_DIR] [options of tools/train.py]'
partition=$1 job_name=$2 config=$3
shift 3
work_dir=()
if [[ $# -gt 0 && $1 != --* ]]; then
    work_dir=(--work-dir "$1")
    shift
fi
run_on_slurm "$partition" "$job_name" train.py "$config" ${work_dir[@]+"${work_dir[@]}"} "$@"
