# Functions of the launch scripts beside this file, which source it.

tools_dir="$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)"
repo_dir="$(dirname -- "$tools_dir")"

# fail MESSAGE: stop with an error.
fail() {
    printf '%s: error: %s\n' "$(basename -- "$0")" "$1" >&2
    exit 2
}

# require_whole_number NAME VALUE LEAST: stop unless VALUE is a whole number of LEAST or more.
require_whole_number() {
    [[ $2 =~ ^[0-9]+$ && $2 -ge $3 ]] || fail "$1: expected a whole number from $3, got '$2'"
}

# find_python: set `python` to $PYTHON, or that of the active environment, or of .venv, or the first on PATH.
find_python() {
    if [[ -n ${PYTHON:-} ]]; then
        python=$PYTHON
    elif [[ -n ${VIRTUAL_ENV:-} ]]; then
        python=$VIRTUAL_ENV/bin/python
    elif [[ -n ${CONDA_PREFIX:-} && ${CONDA_DEFAULT_ENV:-} != base ]]; then
        python=$CONDA_PREFIX/bin/python
    elif [[ -x $repo_dir/.venv/bin/python ]]; then
        python=$repo_dir/.venv/bin/python
    else
        python=$(command -v python3) || fail 'expected python3 on PATH, got none: bash tools/setup_env.sh makes an environment'
    fi
    [[ -x $(command -v "$python") ]] || fail "expected a Python, got nothing at '$python'"
}

# read_seeds LIST: set `seeds` to the numbers of a list such as 0-4 or 0,2,7.
read_seeds() {
    local part
    local parts
    IFS=, read -r -a parts <<<"$1"
    seeds=()
    for part in "${parts[@]}"; do
        [[ $part =~ ^([0-9]{1,9})(-([0-9]{1,9}))?$ ]] || fail "SEEDS: expected numbers as in 0-4 or 0,2,7, got '$1'"
        local first=$((10#${BASH_REMATCH[1]})) last=$((10#${BASH_REMATCH[3]:-${BASH_REMATCH[1]}}))
        ((first <= last && last - first < 100)) || fail "SEEDS: expected up to 100 rising numbers, got '$part'"
        for ((; first <= last; first++)); do
            seeds+=("$first")
        done
    done
}

# run_processes SCRIPT PROCESSES ARGUMENT...: run a script of this folder in PROCESSES processes on this node,
# under torchrun, with the array torchrun_options if it is set.
run_processes() {
    local script=$1 processes=$2
    shift 2
    local nodes=${NNODES:-1} node_rank=${NODE_RANK:-0} port=${PORT:-29500}
    require_whole_number GPUS "$processes" 1
    require_whole_number NNODES "$nodes" 1
    require_whole_number NODE_RANK "$node_rank" 0
    require_whole_number PORT "$port" 1
    find_python
    # The processes of a node share its cores.
    local cores
    cores=$(getconf _NPROCESSORS_ONLN)
    export OMP_NUM_THREADS=${OMP_NUM_THREADS:-$((cores > processes ? cores / processes : 1))}
    export PYTHONPATH="$repo_dir${PYTHONPATH:+:$PYTHONPATH}"
    exec "$python" -m torch.distributed.run \
        --nnodes="$nodes" \
        --node_rank="$node_rank" \
        --master_addr="${MASTER_ADDR:-127.0.0.1}" \
        --master_port="$port" \
        --nproc_per_node="$processes" \
        ${torchrun_options[@]+"${torchrun_options[@]}"} \
        "$tools_dir/$script" "$@" --launcher pytorch
}

# run_on_slurm PARTITION JOB_NAME SCRIPT ARGUMENT...: run a script of this folder as the tasks of a Slurm job.
run_on_slurm() {
    local partition=$1 job_name=$2 script=$3
    shift 3
    local tasks=${GPUS:-8} tasks_per_node=${GPUS_PER_NODE:-8} cores_per_task=${CPUS_PER_TASK:-5}
    require_whole_number GPUS "$tasks" 1
    require_whole_number GPUS_PER_NODE "$tasks_per_node" 1
    require_whole_number CPUS_PER_TASK "$cores_per_task" 1
    # SRUN_ARGS holds any number of options, separated by spaces.
    local srun_options
    read -r -a srun_options <<<"${SRUN_ARGS:-}"
    find_python
    if [[ -n ${PORT:-} ]]; then
        export MASTER_PORT=$PORT
    fi
    export PYTHONPATH="$repo_dir${PYTHONPATH:+:$PYTHONPATH}"
    exec srun \
        --partition="$partition" \
        --job-name="$job_name" \
        --gres="gpu:$((tasks < tasks_per_node ? tasks : tasks_per_node))" \
        --ntasks="$tasks" \
        --ntasks-per-node="$((tasks < tasks_per_node ? tasks : tasks_per_node))" \
        --cpus-per-task="$cores_per_task" \
        --kill-on-bad-exit=1 \
        ${srun_options[@]+"${srun_options[@]}"} \
        "$python" -u "$tools_dir/$script" "$@" --launcher slurm
}
