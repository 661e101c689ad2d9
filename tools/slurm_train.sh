#!/usr/bin/env bash
# Train on a Slurm cluster, one task per GPU.
#
#   bash tools/slurm_train.sh PARTITION JOB_NAME CONFIG [WORK_DIR] [options of tools/train.py]
#
# Environment: GPUS (8), GPUS_PER_NODE (8), CPUS_PER_TASK (5), SRUN_ARGS (more options of srun), PORT, PYTHON;
# SEEDS (as in 0-4 or 0,2,7): a job for each seed, all at once, with its number behind JOB_NAME and WORK_DIR.
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
if [[ -z ${SEEDS:-} ]]; then
    run_on_slurm "$partition" "$job_name" train.py "$config" ${work_dir[@]+"${work_dir[@]}"} "$@"
fi

read_seeds "$SEEDS"
base_dir=${work_dir[1]:-work_dirs/$(basename -- "${config%.*}")}
jobs=()
# Ctrl-C and SIGTERM are for all of them.
trap 'kill -TERM ${jobs[@]+"${jobs[@]}"} 2>/dev/null' INT TERM
for seed in "${seeds[@]}"; do
    # Jobs that share a node must not share a port.
    PORT=$((${PORT:-29500} + seed % 1000)) run_on_slurm "$partition" "${job_name}_$seed" train.py "$config" \
        --work-dir "${base_dir}_seed$seed" --seed "$seed" "$@" &
    jobs+=($!)
done
status=0
for job in "${jobs[@]}"; do
    wait "$job" || status=$?
done
exit "$status"
