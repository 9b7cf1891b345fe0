#!/usr/bin/env bash
# The studies of Faster R-CNN and of RetinaNet on COCO, one after the other; again after anything, to go on.
#   bash configs/studies/coco_r50_1x.sh COCO_FOLDER [options of tools/study.py run]
# With --dry-run it says what they cost; with --workers N, N runs share the GPUs; with --slurm, they are jobs.
set -euo pipefail
if [ $# -lt 1 ]; then
    sed -n '2,4s/^# *//p' "$0" >&2
    exit 2
fi
data=$1
code=0
here=$(dirname "$0")
for study in coco_r50_1x coco_retinanet_r50_1x; do
    python "$here/../../tools/study.py" run "$here/$study.py" --data-root "$data" "${@:2}" || code=$?
    [ "$code" -le 1 ] || exit "$code"
done
exit "$code"
