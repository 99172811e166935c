# The two commands: `make demo` and `make test`. Everything they need goes into .venv.

PYTHON ?= python3.11
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PYTEST_ARGS ?= -n 2 --dist loadfile
BENCH_ARGS ?=
MINUTES ?= 10
# What users run, without what needs developers' tools (a loopback object store).
USER_TESTS ?= tests/unit tests/security --ignore tests/unit/data/sources/test_object_store.py \
	--ignore tests/unit/data/test_object_store.py --ignore tests/unit/data/conversion/test_remote.py
USER_EXTRAS := .[surface,dicom,itk,coco,export,hub,aws]
TEST_TOOLS := 'pytest>=8.3' 'hypothesis>=6.110'

.PHONY: help setup demo test test-slow test-faults test-lowest test-newest bench bench-data bench-eval bench-export lint format clean

help:
	@echo "make setup      environment in $(VENV)"
	@echo "make demo       train and measure a small SyncSAM on MNI152 slices; results in demo/"
	@echo "make test       every test that is not slow"
	@echo "make test-slow  the slow tests"
	@echo "make test-faults what tries to break our promises, with a table in promises/, then fuzzing"
	@echo "make test-lowest the users' tests with the lowest versions of all dependencies"
	@echo "make test-newest the same with the newest versions that pyproject.toml allows"
	@echo "make bench      how fast the model trains and answers, beside the plain way (some 20 minutes)"
	@echo "make bench-data how fast tables are read, beside PNG files and a JSON index (minutes)"
	@echo "make bench-eval how much encoding an image once saves in an evaluation (minutes)"
	@echo "make bench-export how long a click takes in ONNX Runtime and in PyTorch (minutes)"
	@echo "make lint       style, types and layers"
	@echo "make format     let ruff rewrite the code"
	@echo "make clean      remove what the commands above made, but not $(VENV)"

setup: $(STAMP)

# torch comes first and by itself: torchvision must be built for the very same torch.
$(STAMP): pyproject.toml setup.py constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt torch torchvision
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

demo: setup
	$(BIN)/syncsam fit --config demo.yaml
	$(BIN)/syncsam test --ckpt_path demo/checkpoints/best.ckpt \
		--trainer.logger false --trainer.default_root_dir demo
	@echo "table: demo/test/report.md   picture: demo/test/predictions.png"

test: setup
	$(BIN)/python -m pytest -q -m "not slow" $(PYTEST_ARGS)

test-slow: setup
	$(BIN)/python -m pytest -q -m slow $(PYTEST_ARGS)

# One process: these tests kill, and time how long others take to notice.
test-faults: setup
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q --promises promises \
		$$(grep -rl --include='test_*.py' 'mark\.promise' tests)
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.fuzz --minutes $(MINUTES) --json fuzz.json

bench: setup
	$(BIN)/python -m benchmarks.training --json bench.json $(BENCH_ARGS)

constraints-lowest.txt: pyproject.toml tests/lowest_constraints.py
	$(PYTHON) tests/lowest_constraints.py > $@

# An environment of its own, with the lowest version of everything that pyproject.toml allows.
test-lowest: constraints-lowest.txt
	test -x $(VENV)-lowest/bin/python || $(PYTHON) -m venv $(VENV)-lowest
	$(VENV)-lowest/bin/python -m pip install --quiet --constraint $< torch torchvision
	$(VENV)-lowest/bin/python -m pip install --quiet --constraint $< --editable '$(USER_EXTRAS)' \
		$(TEST_TOOLS)
	$(VENV)-lowest/bin/python -m pytest -q -m "not slow" $(USER_TESTS)

# Another one, with the newest that pip finds now.
test-newest:
	test -x $(VENV)-newest/bin/python || $(PYTHON) -m venv $(VENV)-newest
	$(VENV)-newest/bin/python -m pip install --quiet --upgrade torch torchvision
	$(VENV)-newest/bin/python -m pip install --quiet --upgrade --upgrade-strategy eager \
		--editable '$(USER_EXTRAS)' $(TEST_TOOLS)
	$(VENV)-newest/bin/python -m pytest -q -m "not slow" $(USER_TESTS)

bench-data: setup
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.data --json bench-data.json $(BENCH_ARGS)

bench-eval: setup
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.evaluation --json bench-eval.json $(BENCH_ARGS)

bench-export: setup
	$(BIN)/python -m benchmarks.export --json bench-export.json $(BENCH_ARGS)

lint: setup
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

format: setup
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

clean:
	rm -rf build dist demo logs promises fuzz.json fuzz-findings bench.json bench-data.json bench-eval.json bench-export.json lightning_logs .cache .pytest_cache .mypy_cache .ruff_cache \
		.hypothesis .import_linter_cache src/*.egg-info
	find src datamodules configs tests -name __pycache__ -type d -prune -exec rm -rf {} +
