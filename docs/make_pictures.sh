#!/usr/bin/env bash
# Make the pictures of docs/index.md, docs/visualization.md, docs/sharper_boxes.md and docs/review.md again, from the
# embedded data set: bash docs/make_pictures.sh
#
# Run it in the repository, in the environment that tools/setup_env.sh made, after three trainings of about two
# minutes each: bash tools/quickstart.sh, and the same with --seed 1 and --seed 2. Takes some two minutes.
set -euo pipefail

python="${PYTHON:-python}"
config=configs/ts_cam/ts-cam_vit-micro_shapes.py
checkpoint=work_dirs/quickstart/epoch_8.pth
out=work_dirs/doc_pictures
images=docs/images

for seed in '' _seed1 _seed2; do
    "$python" tools/test.py "$config" "work_dirs/quickstart$seed/epoch_8.pth" --work-dir "$out" \
        --out "$out/run$seed.pkl" "$out/run$seed.json"
done
"$python" tools/visualization/vis_localization.py "$config" "$checkpoint" --out-dir "$out/maps" -n 6
"$python" tools/visualization/contact_sheet.py "$config" "$checkpoint" --out "$out/home.png" --num 3 --tile 200 \
    --protocol maxboxacc --threshold 0.459 --title 'TS-CAM, trained on labels alone'
# Each at the threshold that is best for its maps.
"$python" tools/visualization/contact_sheet.py "$config" "$checkpoint" --out "$out/plain.png" --num 6 --tile 128 \
    --protocol maxboxacc --threshold 0.459 --title 'one view'
"$python" tools/visualization/contact_sheet.py "$config" "$checkpoint" --out "$out/refined.png" --num 6 --tile 128 \
    --protocol maxboxacc --threshold 0.565 --refine 96 144 192 guided --title '--refine 96 144 192 guided'
"$python" tools/visualization/browse_dataset.py "$config" --out-dir "$out/train" -n 3 --tile 128
# LCTR trains with more augmentation.
"$python" tools/visualization/browse_dataset.py configs/lctr/lctr_deit-s_cub.py --out-dir "$out/augmented" -n 3 \
    --tile 128 --cfg-options train_dataloader.dataset.data_root=data/embedded_shapes
runs=("seed 0=$out/run.pkl" "seed 1=$out/run_seed1.pkl" "seed 2=$out/run_seed2.pkl")
"$python" tools/analysis_tools/plot_results.py threshold "${runs[@]}" --out "$out/threshold_curve.png"
"$python" tools/analysis_tools/plot_results.py size "${runs[@]}" --out "$out/size_accuracy.png"
"$python" tools/analysis_tools/plot_results.py errors "${runs[@]}" --threshold 0.45 --out "$out/error_breakdown.png"

rm -rf -- "$out"/review*
"$python" tools/predict.py "$config" "$checkpoint" data/embedded_shapes/images --out "$out/review.json" \
    --save-maps "$out/review_maps"
"$python" docs/make_review_pictures.py "$out/review.json" data/embedded_shapes/images "$out/review_maps"

# Kept small in the repository: 256 colours are enough for them.
mkdir -p -- "$images"
"$python" - "$out" "$images" <<'END'
import sys
from pathlib import Path

from PIL import Image

out, images = map(Path, sys.argv[1:])
for source, name in (
    ('home.png', 'home'),
    ('plain.png', 'plain_maps'),
    ('refined.png', 'refined_maps'),
    ('maps/010.vase_vase_0190.png.png', 'localization_figure'),
    ('maps/contact_sheet_1.png', 'localization_sheet'),
    ('train/train_1.png', 'browse_train'),
    ('augmented/train_1.png', 'browse_augmented'),
    ('threshold_curve.png', 'threshold_curve'),
    ('size_accuracy.png', 'size_accuracy'),
    ('error_breakdown.png', 'error_breakdown'),
):
    picture = Image.open(out / source).convert('RGB')
    if picture.width > 1200:
        picture = picture.resize((1200, round(picture.height * 1200 / picture.width)), Image.Resampling.LANCZOS)
    target = images / f'{name}.png'
    picture.quantize(256, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE).save(target, optimize=True)
    print(f'{target}: {target.stat().st_size / 1000:.0f} kB')
END
