#!/usr/bin/env bash
# From nothing to boxes: set up, write the embedded data set, train TS-CAM on its labels, test, draw a sheet.
#
#   bash tools/quickstart.sh [--work-dir DIR] [--seed N] [--force]
#
#   --work-dir DIR  folder for checkpoints, metrics and pictures (default: work_dirs/quickstart in the repository)
#   --seed N        seed of data and training (default: 0)
#   --force         draw, train and test again, even if it is done already
#
# A second run keeps what is there: environment, data, training, metrics, sheet. An interrupted training resumes, and
# ends as one that was not. All of it runs on the CPU, with two threads, so that a seed gives the same numbers with
# and without a GPU.
set -euo pipefail

repo_dir="$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)"
config=configs/ts_cam/ts-cam_vit-micro_shapes.py
caller_dir=$PWD

say() { printf '\n==> %s\n' "$1"; }
fail() {
    printf 'quickstart.sh: error: %s\n' "$1" >&2
    exit 1
}

work_dir=''
seed=0
force=false
while (($#)); do
    case $1 in
        --work-dir | --seed)
            [[ $# -ge 2 && -n $2 ]] || fail "$1: expected a value, got none"
            if [[ $1 == --seed ]]; then seed=$2; else work_dir=$2; fi
            shift 2
            ;;
        --force)
            force=true
            shift
            ;;
        -h | --help)
            sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//p;}' "${BASH_SOURCE[0]}"
            exit
            ;;
        *) fail "expected the options that --help lists, got '$1'" ;;
    esac
done
[[ $seed =~ ^(0|[1-9][0-9]{0,8})$ ]] || fail "--seed: expected an integer from 0 to 999999999, got '$seed'"

suffix=''
((seed == 0)) || suffix=_seed$seed
data_dir=data/embedded_shapes$suffix # in the repository
work_dir=${work_dir:-$repo_dir/work_dirs/quickstart$suffix}
[[ $work_dir == /* ]] || work_dir=$caller_dir/$work_dir
cd -- "$repo_dir"

say 'Environment'
python="$(bash tools/setup_env.sh runtime)"
start=$SECONDS

export CUDA_VISIBLE_DEVICES='' OMP_NUM_THREADS="${OMP_NUM_THREADS:-2}"
# Threads that wait go to sleep: if another program has one of the cores, busy waiting costs several times the work.
export OMP_WAIT_POLICY="${OMP_WAIT_POLICY:-passive}"
export PYTHONUNBUFFERED=1 PYTHONWARNINGS=ignore

data_options=()
for loader in train val test; do data_options+=("${loader}_dataloader.dataset.data_root=$data_dir"); done

# run_logged COMMAND...: keep all output in the log and show one line per step of progress.
show_progress='
import re, sys
with open(sys.argv[1], "a", encoding="utf-8") as log:
    for line in sys.stdin:
        log.write(line)
        log.flush()
        train = re.search(r"Epoch\(train\) *\[(\d+)\]\[ *(\d+)/(\d+)\].*?eta: (\S+).*?loss: (\S+)", line)
        if train:
            epoch, step, steps, eta, loss = train.groups()
            print(f"    epoch {epoch}, step {step}/{steps}, loss {loss}, {eta} left")
        elif re.search(r"Epoch\(test\) *\[", line) and "eta" in line:
            done = re.search(r"\[ *(\d+)/(\d+)\]", line)
            print(f"    batch {done[1]}/{done[2]}")
        elif "resumed epoch" in line:
            print("    " + line.split(" - ")[-1].strip())
'
run_logged() {
    "$python" "$@" 2>&1 | "$python" -c "$show_progress" "$log" || {
        tail -n 25 -- "$log" >&2
        fail "'$1' failed; the whole log is '$log'"
    }
}

say "Data set: ten classes of drawn objects, in $data_dir"
make_options=("$data_dir" --seed "$seed")
! $force || make_options+=(--force)
"$python" tools/dataset_converters/make_embedded_shapes.py "${make_options[@]}"

# The work directory is ours if the stamp is in it; what is in it is outdated if the stamp would differ.
settings="seed $seed, data $(cksum <"$data_dir/embedded_shapes.json"), configs $(
    cat "$config" configs/_base_/{models/vit-micro,datasets/shapes,datasets/cub,schedules/adamw-scratch_8e}.py \
        configs/_base_/{pipelines/squash_96,pipelines/squash_224,default_runtime}.py | cksum
)"
stamp=$work_dir/quickstart.txt
if [[ -f $stamp ]]; then
    if $force; then
        rm -rf -- "$work_dir"
    elif [[ $(<"$stamp") != "$settings" ]]; then
        fail "'$work_dir': expected a run with $settings, got one with $(<"$stamp"). --force replaces it"
    fi
elif [[ -d $work_dir && -n $(ls -A -- "$work_dir") ]]; then
    fail "'$work_dir': expected a new or empty folder, got one with other files"
fi
mkdir -p -- "$work_dir"
printf '%s\n' "$settings" >"$stamp"
log=$work_dir/quickstart.log

if [[ ! -f $work_dir/baseline.json ]]; then
    "$python" tools/analysis_tools/constant_box_baseline.py "$config" --out "$work_dir/baseline.json" \
        --cfg-options "${data_options[@]}"
fi

if [[ -f $work_dir/trained ]]; then
    say 'Training: done already'
else
    say 'Training, on image labels only'
    run_logged tools/train.py "$config" --work-dir "$work_dir" --seed "$seed" --resume --no-validate \
        --cfg-options "${data_options[@]}"
    : >"$work_dir/trained"
fi
checkpoint=$(<"$work_dir/last_checkpoint")

if [[ -f $work_dir/metrics.json ]]; then
    say 'Test: done already'
else
    say 'Test'
    run_logged tools/test.py "$config" "$checkpoint" --work-dir "$work_dir" --out "$work_dir/metrics.part.json" \
        --cfg-options "${data_options[@]}"
    mv -- "$work_dir/metrics.part.json" "$work_dir/metrics.json"
fi

# metric FILE KEY: print one number.
metric() {
    "$python" -c 'import json, sys; print(json.load(open(sys.argv[1]))[sys.argv[2]])' "$work_dir/$1" "$2"
}
sheet=$work_dir/contact_sheet.png
if [[ ! -f $sheet ]]; then
    say 'Contact sheet'
    run_logged tools/visualization/contact_sheet.py "$config" "$checkpoint" --out "$sheet" --num 24 \
        --protocol maxboxacc --threshold "$(metric metrics.json maxboxacc/threshold)" \
        --title 'TS-CAM on the embedded data set: learned from image labels' --cfg-options "${data_options[@]}"
fi

say "Done in $((SECONDS - start)) s, after the set-up"
row() { LC_ALL=C printf '  %-38s %6.2f %s\n' "$1" "$2" "${3:-%}"; }
row 'MaxBoxAcc (box right: IoU 0.5)' "$(metric metrics.json maxboxacc/MaxBoxAcc)" \
    "%  at threshold $(LC_ALL=C printf "%.3f" "$(metric metrics.json maxboxacc/threshold)")"
row 'for comparison: best constant box' "$(metric baseline.json BoxAcc)"
row 'GT-known Loc (fixed threshold)' "$(metric metrics.json ts_cam/GT-known_Loc)"
row 'Top-1 Loc (box and class right)' "$(metric metrics.json ts_cam/Top-1_Loc)"
row 'Top-1 classification' "$(metric metrics.json Top-1_Cls)"
printf '\n  metrics: %s\n  picture: %s\n' "$work_dir/metrics.json" "$sheet"
if [[ $python == "$repo_dir/.venv/bin/python" ]]; then
    printf '\nFor all further commands: source %s\n' "$repo_dir/.venv/bin/activate"
fi
