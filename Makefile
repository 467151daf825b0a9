# Every target is one line that calls mtrl. MODEL=, HARDWARE=, TASK=, SEEDS=, RAW=, DATA= change what it runs on.
# setup targets: DEVICE=cpu or DEVICE=gpu; by default the environment's own device, or what nvidia-smi says.
MTRL := .venv/bin/mtrl
BUILD := python3 mtrl/backends/envs/build.py $(if $(DEVICE),--device $(DEVICE))
PRESETS := $(if $(MODEL),--model $(MODEL)) $(if $(HARDWARE),--hardware $(HARDWARE))
# mypy does not follow setuptools' package-dir: it gets a folder of links laid out as the installed package is.
TYPES = rm -rf build/types/mtrl && mkdir -p build/types/mtrl && ln -sfn $(CURDIR)/mtrl/* $(CURDIR)/converters \
	$(CURDIR)/evaluate $(CURDIR)/reward_plugins $(CURDIR)/recipes $(CURDIR)/prompts build/types/mtrl/ && \
	cd build/types && ../../.venv/bin/mypy -p mtrl --config-file ../../pyproject.toml
# Time budgets alone, then two files at once, those of the real tools first: a test waits for its processes mostly.
PYTEST = .venv/bin/python -m pytest
TESTS = $(PYTEST) -m timed && $(PYTEST) -n 2 --dist loadfile --no-loadscope-reorder
PYTHON ?= .venv/bin/python
RAW ?= raw
DATA ?= data
CKPT ?= Qwen/Qwen3-VL-30B-A3B-Instruct

.PHONY: help setup setup-main setup-llamafactory setup-easyr1 setup-verl demo gpu-check test test-long lint docs data \
	sft-single sft-unified sft-traces rl-single rl-multitask eval tables table2 table3 table4 study
help: ## this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  make %-20s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
setup: setup-main setup-llamafactory ## both environments: mtrl with vLLM and TRL, and LLaMA-Factory
setup-main: ## .venv: mtrl, vLLM, TRL, Ray
	@$(BUILD) main -e '.[test]'
setup-llamafactory: ## .venv-llamafactory: LLaMA-Factory
	@$(BUILD) llamafactory
setup-easyr1: ## .venv-easyr1: EasyR1, for RL on GPUs; on a CPU what its contract test needs
	@$(BUILD) easyr1
setup-verl: ## .venv-verl: verl, for RL on GPUs; on a CPU what its contract test needs
	@$(BUILD) verl
demo: setup ## the whole way on this machine's CPU: tables and a report in minutes
	@$(MTRL) demo $(if $(FULL),--full)
gpu-check: ## each installed trainer once on this machine's GPUs, 25 minutes: LITE=1 few packages, CPU=1 no GPU, PYTHON=
	@$(PYTHON) -m mtrl.demo.gpu_check $(if $(LITE),--lite) $(if $(CPU),--cpu)
test: setup setup-verl lint ## every test but the long ones, with real upstream tools
	@$(TESTS) -m "not timed and not long"
test-long: setup setup-verl ## the long kill loops too
	@$(TESTS) -m "not timed"
lint: setup-main ## ruff and mypy
	@.venv/bin/ruff check . && .venv/bin/ruff format --check . && $(TYPES)
docs: setup-main ## the pages of docs/ as a site, in build/docs/
	@.venv/bin/mkdocs build -q -f docs/site/mkdocs.yml && echo build/docs/index.html
data: ## convert the paper's tasks: RAW=folder of releases
	$(MTRL) convert agin_nat agin_tech agin_rat seetrue imagereward unsafebench --raw $(RAW) --out $(DATA)
sft-single: ## Table 2, SFT-Single: TASK=seetrue
	$(MTRL) sft recipes/sft_single.yaml $(if $(TASK),--tasks $(TASK)) --data $(DATA) $(PRESETS)
sft-unified: ## Table 2, SFT-Unified
	$(MTRL) sft recipes/sft_unified.yaml --data $(DATA) $(PRESETS)
sft-traces: ## SFT on a model's own correct reasoning: SIFT=folder of mtrl sift
	$(MTRL) sft recipes/sft_traces.yaml $(if $(SIFT),--set sift=$(SIFT)) --data $(DATA) $(PRESETS)
rl-single: ## Table 2, RL-Single: TASK=seetrue
	$(MTRL) rl recipes/rl_single.yaml $(if $(TASK),--tasks $(TASK)) --data $(DATA) $(PRESETS)
rl-multitask: ## Table 2, MT-RL-Judge
	$(MTRL) rl recipes/rl_multitask.yaml --data $(DATA) $(PRESETS)
eval: ## score a checkpoint: CKPT=folder or hub id
	$(MTRL) eval --ckpt $(CKPT) --data $(DATA)
tables: ## Tables 1 to 4: ours next to published numbers
	$(MTRL) tables --data $(DATA)
table2: ## the whole of Table 2, resumable: SEEDS=1,2,3 ARGS="--only rl_multitask --keep best"
	$(MTRL) reproduce $@ --data $(DATA) --raw $(RAW) $(PRESETS) $(if $(SEEDS),--seeds $(SEEDS)) $(ARGS)
table3: ## Table 3, from the trainings of Table 2 where they are there
	$(MTRL) reproduce $@ --data $(DATA) --raw $(RAW) $(PRESETS) $(if $(SEEDS),--seeds $(SEEDS)) $(ARGS)
table4: ## Table 4, beyond the paper: the same judges on the benchmarks that are converted
	$(MTRL) reproduce $@ --data $(DATA) --raw $(RAW) $(PRESETS) $(if $(SEEDS),--seeds $(SEEDS)) $(ARGS)
study: setup ## SFT and RL on an unseen format (docs/study.md): hours on this machine's CPU, resumable
	@$(MTRL) study $(ARGS)
