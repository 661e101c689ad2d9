#!/usr/bin/env bash
# Unpack ImageNet-1K as `mim download wsol_mm --dataset ilsvrc` fetches it.
#
#   bash tools/dataset_converters/odl_ilsvrc.sh DOWNLOAD_DIR DATA_ROOT
#
# DOWNLOAD_DIR holds ImageNet-1K/raw/*.tar.gz.*, the parts of one archive, which stay. train/ and val/ go to
# DATA_ROOT. The boxes of the validation images are not among them (docs/datasets.md).
set -euo pipefail
shopt -s nullglob

[[ $# -eq 2 ]] || { printf 'odl_ilsvrc.sh: error: expected DOWNLOAD_DIR DATA_ROOT, got %s arguments\n' $# >&2 && exit 2; }
download_dir=$1 data_root=$2
parts=("$download_dir"/*ImageNet-1K/raw/*.tar.gz.*)
[[ ${#parts[@]} -gt 0 ]] || {
    printf "odl_ilsvrc.sh: error: '%s': expected ImageNet-1K/raw/*.tar.gz.*, got none\n" "$download_dir" >&2
    exit 1
}
mkdir -p -- "$data_root"
# On the same disk, so that moving is renaming.
unpacked=$(mktemp -d -- "$data_root/.unpack.XXXXXX")
trap 'rm -rf -- "$unpacked"' EXIT
cat -- "${parts[@]}" | tar -xz -C "$unpacked"
# The archive may wrap the folder of the data set in others.
train=$(find "$unpacked" -type d -name train -print -quit)
[[ -n $train && -d $(dirname -- "$train")/val ]] || {
    printf "odl_ilsvrc.sh: error: '%s': expected train/ beside val/, got none\n" "${parts[*]}" >&2
    exit 1
}
mv -- "$train" "$(dirname -- "$train")/val" "$data_root"/
printf 'ILSVRC 2012 is in %s\n' "$data_root"
