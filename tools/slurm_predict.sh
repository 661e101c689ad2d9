#!/usr/bin/env bash
# Predict the images of a folder as an array of jobs on a Slurm cluster, and put their parts together.
#
#   bash tools/slurm_predict.sh PARTITION JOB_NAME CONFIG CHECKPOINT FOLDER --out OUT [other options of tools/predict.py]
#
# A job that is preempted and queued again goes on after the last batch that was done. If one fails, the job that puts the
# parts together says so, and the same command goes on with what is left.
#
# Environment: SHARDS (8), CPUS_PER_TASK (5), SBATCH_ARGS (more options of the array's sbatch), PYTHON.
set -euo pipefail
source "$(dirname -- "${BASH_SOURCE[0]}")/launch_functions.sh"

usage='usage: bash tools/slurm_predict.sh PARTITION JOB_NAME CONFIG CHECKPOINT FOLDER --out OUT [options of tools/predict.py]'
[[ $# -ge 5 ]] || fail "$usage"
partition=$1 job_name=$2
shift 2
arguments=("$@") out=
while [[ $# -gt 0 ]]; do
    case $1 in
        --out) out=${2:-} ;;
        --out=*) out=${1#--out=} ;;
    esac
    shift
done
[[ -n $out ]] || fail "$usage"
shards=${SHARDS:-8} cores=${CPUS_PER_TASK:-5}
require_whole_number SHARDS "$shards" 1
require_whole_number CPUS_PER_TASK "$cores" 1
read -r -a sbatch_options <<<"${SBATCH_ARGS:-}"
find_python
export PYTHONPATH="$repo_dir${PYTHONPATH:+:$PYTHONPATH}"

predict=$(printf '%q ' "$python" -u "$tools_dir/predict.py" "${arguments[@]}")
merge=$(printf '%q ' "$python" -u "$tools_dir/misc/merge_predictions.py" "$out")
array=$(
    sbatch \
        --parsable \
        --partition="$partition" \
        --job-name="$job_name" \
        --array="1-$shards" \
        --gres=gpu:1 \
        --cpus-per-task="$cores" \
        --requeue \
        ${sbatch_options[@]+"${sbatch_options[@]}"} <<SCRIPT
#!/usr/bin/env bash
exec $predict --shard "\$SLURM_ARRAY_TASK_ID/$shards"
SCRIPT
)
# Also after a job that failed, or has images that cannot be used (status 3): the merge finds out what is missing.
sbatch \
    --partition="$partition" \
    --job-name="$job_name-merge" \
    --cpus-per-task=1 \
    --dependency="afterany:${array%%;*}" <<SCRIPT
#!/usr/bin/env bash
exec $merge
SCRIPT
