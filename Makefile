# Two commands do everything: `make demo` and `make test`. Both need CPython 3.11 and nothing else.
PYTHON ?= python3.11
VENV ?= .venv
DEMO ?= demo
# embedded, light or full; the latter two need weights: avipipe weights pull --profile light
PROFILE ?= embedded
# What `make edit-tiny` edits with: avi_edit, flow_anchor, aved or audio_scenic.
METHOD ?= avi_edit
DATASET := $(DEMO)/dataset$(if $(filter-out embedded,$(PROFILE)),-$(PROFILE))
# One more than there are CPUs, as tests wait for processes that they start.
TESTERS ?= $(shell expr $$(getconf _NPROCESSORS_ONLN) + 1)
# Each file in one process, in the order of their names: by number of tests, as is usual, files with
# few and long ones would begin last, and be waited for by idle processes.
SIDE_BY_SIDE := -n $(TESTERS) --dist loadfile --no-loadscope-reorder
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check

.PHONY: demo train-tiny edit-tiny edit-tiny-avi_edit edit-tiny-flow_anchor edit-tiny-aved edit-tiny-audio_scenic eval-tiny pictures test test-short test-slow check format bench clean

demo: $(VENV)/$(PROFILE)  ## Synthesise clips, build a dataset from them, say where the report is.
	$(BIN)/avipipe synth --out $(DEMO)/clips
	$(BIN)/avipipe build --source $(DEMO)/clips/sources.txt --out $(DATASET) --profile $(PROFILE)
	@echo "Open $(DATASET)/report.html"

train-tiny: demo $(VENV)/dev  ## Train a tiny editor on the demo's dataset: minutes, without a GPU.
	$(BIN)/avipipe train cache --config tiny --data $(DEMO)/dataset --out $(DEMO)/features
	$(BIN)/avipipe train --config tiny --data $(DEMO)/dataset --out $(DEMO)/run \
		--set data.cache=$(DEMO)/features --resume

edit-tiny: edit-tiny-$(METHOD)  ## Train a tiny network of METHOD and edit with it; say where to look.

edit-tiny-avi_edit: train-tiny  # the demo's clips, from their bounding boxes
	$(BIN)/avipipe edit --batch $(DEMO)/dataset --split train --instruction "make it anew" \
		--precision 4 --model $(DEMO)/run --steps 20 --set solver.shift=1 --out $(DEMO)/edited
	@echo "Open $(DEMO)/edited/*/trace.html"

edit-tiny-flow_anchor: $(DEMO)/wan  # one of two shapes gets another colour
	$(BIN)/python -m examples.tiny.shapes $(DEMO)/shapes --caption "a red square and a blue circle"
	$(BIN)/avipipe edit $(DEMO)/shapes/video.mp4 --method flow_anchor --model $(DEMO)/wan \
		--instruction "make the square green" --mask $(DEMO)/shapes/first.masks.json \
		--source-prompt "a red square and a blue circle" \
		--prompt "a green square and a blue circle" \
		--config examples/tiny/flow_anchor.yaml --out $(DEMO)/green
	@echo "Open $(DEMO)/green/trace.html"

$(DEMO)/wan: | $(VENV)/dev
	$(BIN)/python -m examples.tiny.train_wan $@

edit-tiny-aved: $(DEMO)/aved  # one of two shapes gets another colour, and its tone with it
	$(BIN)/python -m examples.tiny.shapes $(DEMO)/sounding --caption "a red square and a blue circle" \
		--frames 48
	$(BIN)/avipipe edit $(DEMO)/sounding/video.mp4 --method aved --model $(DEMO)/aved/picture \
		--set models.sound=$(DEMO)/aved/sound --instruction "make the square green" \
		--mask $(DEMO)/sounding/first.masks.json \
		--source-prompt "a red square and a blue circle" \
		--prompt "a green square and a blue circle" \
		--config examples/tiny/aved.yaml --out $(DEMO)/green-and-higher
	@echo "Open $(DEMO)/green-and-higher/trace.html"

$(DEMO)/aved: | $(VENV)/dev
	$(BIN)/python -m examples.tiny.train_aved $@

edit-tiny-audio_scenic: $(DEMO)/scenic  # a red backdrop hears the tone of blue ones, first soft, then loud
	$(BIN)/python -m examples.tiny.backdrops $(DEMO)/backdrop --colour red --new blue
	$(BIN)/avipipe edit $(DEMO)/backdrop/video.mp4 --method audio_scenic \
		--model $(DEMO)/scenic/diffusion --set models.controlnet=$(DEMO)/scenic/controlnet \
		--set models.depth=$(DEMO)/scenic/depth --set models.clap=$(DEMO)/scenic/clap \
		--instruction "make the backdrop blue" --mask $(DEMO)/backdrop/shape.masks.json \
		--audio $(DEMO)/backdrop/new.wav \
		--config examples/tiny/audio_scenic.yaml --out $(DEMO)/blue
	@echo "Open $(DEMO)/blue/trace.html"

$(DEMO)/scenic: | $(VENV)/dev
	$(BIN)/python -m examples.tiny.train_audio_scenic $@

eval-tiny: edit-tiny-avi_edit  ## Measure these edits, beside controls, against the dataset.
	$(BIN)/avipipe eval run --source $(DEMO)/dataset --edit tiny=$(DEMO)/edited \
		--out $(DEMO)/measured
	@echo "Open $(DEMO)/measured/report.html"

pictures: demo edit-tiny-flow_anchor  ## Make the pictures of the README anew; needs chromium.
	$(BIN)/python examples/pictures.py $(DEMO)/dataset/report.html $(DEMO)/green/trace.html

test: $(VENV)/dev  ## All checks, and beside them all tests but the long ones.
	$(MAKE) --jobs=2 check test-short

test-short: $(VENV)/dev
	$(BIN)/python -m pytest $(SIDE_BY_SIDE)

test-slow: $(VENV)/dev  ## The long tests: crash course, memory, many items.
	$(BIN)/python -m pytest -m slow $(SIDE_BY_SIDE)

check: $(VENV)/dev  ## Lint, format and types.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(VENV)/dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/dev  ## Cost of a build against the floor; see bench/README.md for the others.
	$(BIN)/python bench/build.py

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/embedded: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(PIP) install --quiet -c constraints.txt -e .
	@touch $@

$(VENV)/light $(VENV)/full: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(PIP) install --quiet -c constraints.txt -e '.[$(@F)]'
	@touch $@ $(VENV)/embedded

$(VENV)/dev: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(PIP) install --quiet -c constraints.txt -e '.[dev]'
	@touch $@ $(VENV)/embedded $(VENV)/light $(VENV)/full

clean:
	rm -rf $(VENV) $(DEMO) build *.egg-info
