#!/usr/bin/env bash
# The demo model: a small CLIP from random weights, on synthetic people alone.
#
#   recipes/demo.sh [WORK]          everything goes into WORK (default: work/demo); run it again to go on where it stopped
#
#   stage 0  contrastive, photographs and words (from random weights)
#   stage 1  InteractReID stage 1 with composed prompts and a loss between sketches and words; what ships
#   stage 2  InteractReID stage 2 on other people, sketches only: STAGE2=1 trains it (docs/demo-model.md says why it does not ship)
#   sketches a copy of the image encoder learns to read drawings by people who cannot draw; photographs stay as they are
#   then     the way of joining sketch and words is chosen on the validation part of the frozen benchmark, and all is measured
#
# Expected figures and what was measured where: docs/demo-model.md. PROCESSES of one thread each (4), PRECISION (bf16).
set -euo pipefail
WORK=${1:-work/demo}
PROCESSES=${PROCESSES:-4}
PRECISION=${PRECISION:-bf16}
SEED=${SEED:-0}
DESCRY=${DESCRY:-.venv/bin/descry}
TORCHRUN=${TORCHRUN:-.venv/bin/torchrun}
export OMP_NUM_THREADS=1

train() { # OUT, then the arguments of descry train; a finished run is not repeated
  local out=$1 resume=
  shift
  [ -f "$out/metrics.json" ] && return
  [ -f "$out/training.safetensors" ] && resume=--resume
  "$TORCHRUN" --standalone --local-addr 127.0.0.1 --nproc-per-node "$PROCESSES" -m descry train "$@" --out "$out" $resume \
    --batch-size 192 --precision "$PRECISION" --threads 1 --save-every 200 --seed "$SEED" \
    --set augment=flip --set weight_decay=0.05
}

"$DESCRY" people "$WORK/people" --identities 40000 --first 100000 --photos 2 --sketches 2 --captions 2 --val 0 --test 0
"$DESCRY" people "$WORK/bench" --benchmark val
"$DESCRY" people "$WORK/bench" --benchmark test

MUON="--set optimiser=muon --set muon_rate=20"
train "$WORK/stage0" baseline --data "$WORK/people" --from random --image-size 96 48 --epochs 1 --lr 1e-3 $MUON \
  --set loss=info_nce --set temperature=0.05 --set identity=false --set mask_captions=false --set mask_text=0 \
  --set eps=1e-8 --set schedule=iteration --set warmup_epochs=0.1 --set warmup_from=5e-5 \
  --set end_lr=5e-4 --set drop_last=true --set bias_rule=false

SMALL="--set text_dropout=0 --set mapping_hidden=256 --set mapping_dropout=0 --set back_translation=0"
train "$WORK/stage1" interactreid --stage 1 --data "$WORK/people" --from "$WORK/stage0" --epochs 5 --lr 1e-3 $SMALL $MUON \
  --set composed=1 --set sketch_text=0.5 --set alpha=0 --set reverse_kl=0 --set temperature=0.04 --set train_patches=true \
  --set warmup_epochs=0.05 --set warmup_from=1e-4 --set end_lr=1e-5

if [ -n "${STAGE2:-}" ]; then
  "$DESCRY" people "$WORK/sketched" --identities 4000 --first 8000 --photos 2 --sketches 3 --captions 1 --val 0 --test 0
  train "$WORK/stage2" interactreid --stage 2 --data "$WORK/sketched" --from "$WORK/stage1" --epochs 20 --lr 2e-4 $SMALL \
    --set anchor=3 --set direct=1 --set mapping_rate=2 --set temperature=0.04 --set warmup_epochs=1 --set warmup_from=2e-5 \
    --set end_lr=1e-5
fi

"$DESCRY" model pack "$WORK/stage1" --out "$WORK/demo" --half \
  --note "trained on synthetic people only: no evidence of accuracy on real people"
PYTHON=${PYTHON:-.venv/bin/python}
"$PYTHON" -m descry_lab demo-sketches "$WORK/demo"
"$PYTHON" -m descry_lab conversation --model "$WORK/demo" --data "$WORK/bench" --out "$WORK/conversation"
"$PYTHON" - "$WORK/demo" "$WORK/conversation/composition.json" <<'END'
import json, pathlib, sys
from descry.checkpoint import read_config, write_config
folder, chosen = map(pathlib.Path, sys.argv[1:])
write_config(folder, read_config(folder) | {"composition": json.loads(chosen.read_text())})
END
"$PYTHON" -m descry_lab demo-report "$WORK/bench" --model "$WORK/demo"
echo "== $WORK/demo is the model; copied to src/descry/models/demo it is the one that ships (python -m descry_lab demo-report --write)"
