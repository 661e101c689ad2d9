#!/usr/bin/env bash
# Install wsol_mm, editable, with the versions of requirements/pins.txt.
#
#   python="$(bash tools/setup_env.sh [runtime|tests])"
#
# Installs into the active virtual or conda environment, or else into .venv in the repository, which it makes.
# conda's base environment does not count as active. Progress goes to stderr; the only line on stdout is the path
# of the environment's Python. What is there already is kept: an environment that was set up from the same
# requirement files is left as it is, as is a torch in the supported range (install the build for your GPU first
# if the default one does not suit it), and as are the original mmengine, mmcv and mmpretrain.
set -euo pipefail

repo_dir="$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)"
requirements_dir=$repo_dir/requirements
what=${1:-runtime}
start=$SECONDS

say() { printf '[setup %3ds] %s\n' "$((SECONDS - start))" "$1" >&2; }
fail() {
    printf 'setup_env.sh: error: %s\n' "$1" >&2
    exit 1
}

[[ $# -le 1 && ($what == runtime || $what == tests) ]] ||
    fail "expected bash tools/setup_env.sh [runtime|tests], got '$*'"

# require_python PYTHON: stop unless it is a Python of 3.10 or newer.
require_python() {
    local version
    version=$("$1" -c 'import sys; print(".".join(map(str, sys.version_info[:3])))') || fail "'$1': expected a Python that runs, got an error"
    "$1" -c 'import sys; sys.exit(sys.version_info < (3, 10))' ||
        fail "'$1': expected Python 3.10 or newer, got $version"
}

# Set env_dir and python to the environment to install into.
find_environment() {
    if [[ -n ${VIRTUAL_ENV:-} ]]; then
        env_dir=$VIRTUAL_ENV
    elif [[ -n ${CONDA_PREFIX:-} && ${CONDA_DEFAULT_ENV:-} != base ]]; then
        env_dir=$CONDA_PREFIX
    else
        env_dir=$repo_dir/.venv
        [[ -x $env_dir/bin/python ]] || make_environment
    fi
    python=$env_dir/bin/python
    [[ -x $python ]] || fail "expected an active environment with bin/python, got none in '$env_dir'"
    require_python "$python"
}

make_environment() {
    local base
    base=$(command -v python3) || fail 'expected python3 on PATH, got none: install Python 3.10 or newer'
    require_python "$base"
    say "making $env_dir with $("$base" --version)"
    if ! "$base" -m venv "$env_dir" >&2; then
        rm -rf -- "$env_dir"
        fail "'$base -m venv' failed; on Debian and Ubuntu: apt-get install python3-venv"
    fi
}

# Install, pinned, with pip's own progress on a terminal only.
install() {
    local quiet=(--quiet)
    [[ ! -t 2 ]] || quiet=()
    "$python" -m pip install ${quiet[@]+"${quiet[@]}"} --disable-pip-version-check \
        --constraint "$constraints" "$@" >&2
}

# pinned NAME: print the pinned requirement of a package.
pinned() { grep -E "^$1==" "$requirements_dir/pins.txt"; }

# Print the version of a distribution, or nothing.
installed_version() {
    "$python" -c 'import sys
from importlib import metadata
try:
    print(metadata.version(sys.argv[1]))
except metadata.PackageNotFoundError:
    pass' "$1"
}

# torch comes first and alone: the packages that need it accept many versions, and the resolver would take the
# newest build of all. Then it is held where it is.
install_torch() {
    local found
    found=$(installed_version torch)
    if [[ -z $found ]]; then
        say "installing $(pinned torch)"
        install "$(pinned torch)"
    elif [[ torch==${found%%+*} != "$(pinned torch)" ]]; then
        say "keeping torch $found"
        # torchvision follows torch: each of its releases names the one torch that it goes with.
        grep -v -E '^torch(vision)?==' "$requirements_dir/pins.txt" >"$constraints"
        echo "torch==$found" >>"$constraints"
    fi
}

install_openmmlab() {
    local original
    for original in mmengine mmcv mmcv-lite mmpretrain; do
        if [[ -n $(installed_version "$original") ]]; then
            say "keeping the original OpenMMLab packages: $original is installed"
            return
        fi
    done
    say 'installing the OpenMMLab packages'
    # The compiled operators of mmcv are not used; building them takes many minutes.
    MMCV_WITH_OPS=0 install -r "$requirements_dir/mminstall.txt"
}

# opencv-python needs libGL, which a server may lack; opencv-python-headless is the same without windows.
mend_opencv() {
    if ! "$python" -c 'import cv2' 2>/dev/null && [[ -n $(installed_version opencv-python) ]]; then
        local version
        version=$(installed_version opencv-python)
        say "opencv-python does not load here: replacing it by opencv-python-headless $version"
        "$python" -m pip uninstall --quiet --yes opencv-python >&2
        # Both have the same files: what uninstalling one has taken from the other comes back.
        install --no-deps --force-reinstall "opencv-python-headless==$version"
    fi
}

find_environment
# An editable installation belongs to one source tree, so its path is part of what must not have changed.
fingerprint=$(
    {
        printf '%s\n' "$repo_dir"
        "$python" --version
        cat -- "$requirements_dir"/*.txt "$repo_dir"/{setup.py,pyproject.toml} "${BASH_SOURCE[0]}"
    } | cksum
)
is_stamped() { [[ -f $env_dir/.wsol_mm_$1 && $(<"$env_dir/.wsol_mm_$1") == "$fingerprint" ]]; }

if is_stamped tests || is_stamped "$what"; then
    say "$env_dir is up to date"
else
    say "installing wsol_mm for $what into $env_dir"
    constraints=$(mktemp)
    trap 'rm -f -- "$constraints"' EXIT
    cp -- "$requirements_dir/pins.txt" "$constraints"
    install "$(pinned setuptools)"
    install_torch
    say 'installing what wsol_mm needs'
    install -r "$requirements_dir/runtime.txt"
    install_openmmlab
    if [[ $what == tests ]]; then
        say 'installing what the tests need'
        install -r "$requirements_dir/tests.txt"
    fi
    mend_opencv
    say 'installing wsol_mm'
    install --no-deps --no-build-isolation --editable "$repo_dir"
    # The dependency guard has the last word; outside the source tree, where only the installation counts.
    if ! report=$(cd / && "$python" -W ignore -c 'import wsol_mm.registry' 2>&1); then
        printf '%s\n' "$report" >&2
        fail "wsol_mm does not import in $env_dir"
    fi
    printf '%s\n' "$fingerprint" >"$env_dir/.wsol_mm_$what"
    say 'done'
fi
printf '%s\n' "$python"
