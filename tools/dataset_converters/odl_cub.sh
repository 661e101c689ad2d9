#!/usr/bin/env bash
# Unpack CUB-200-2011 as `mim download wsol_mm --dataset cub` fetches it.
#
#   bash tools/dataset_converters/odl_cub.sh DOWNLOAD_DIR DATA_ROOT
#
# DOWNLOAD_DIR holds CUB-200-2011/raw/*.tar.gz, which stay. images/, images.txt and the rest go to DATA_ROOT.
set -euo pipefail
shopt -s nullglob

[[ $# -eq 2 ]] || { printf 'odl_cub.sh: error: expected DOWNLOAD_DIR DATA_ROOT, got %s arguments\n' $# >&2 && exit 2; }
download_dir=$1 data_root=$2
archives=("$download_dir"/*CUB-200-2011/raw/*.tar.gz)
[[ ${#archives[@]} -gt 0 ]] || {
    printf "odl_cub.sh: error: '%s': expected CUB-200-2011/raw/*.tar.gz, got none\n" "$download_dir" >&2
    exit 1
}
mkdir -p -- "$data_root"
# On the same disk, so that moving is renaming.
unpacked=$(mktemp -d -- "$data_root/.unpack.XXXXXX")
trap 'rm -rf -- "$unpacked"' EXIT
for archive in "${archives[@]}"; do tar -xzf "$archive" -C "$unpacked"; done
# The archive may wrap the folder of the data set in others.
list=$(find "$unpacked" -name train_test_split.txt -print -quit)
[[ -n $list ]] || {
    printf "odl_cub.sh: error: '%s': expected train_test_split.txt, got none\n" "${archives[*]}" >&2
    exit 1
}
mv -- "$(dirname -- "$list")"/* "$data_root"/
printf 'CUB-200-2011 is in %s\n' "$data_root"
