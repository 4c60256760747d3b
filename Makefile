# make demo and make test do everything on a fresh machine: a local .venv, all packages, then the job.
PYTHON ?= python3
# On CPU-only Linux with PyTorch's own index: make demo TORCH_FLAGS="--index-url https://download.pytorch.org/whl/cpu"
TORCH ?= torch==2.13.0
TORCH_FLAGS ?=
FRAMEWORKS ?= .frameworks
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet
PYTEST := $(BIN)/python -m pytest -n 2 --dist worksteal

.PHONY: demo pipeline test test-all check format lint types docs frameworks bench clean

demo: $(VENV)/.train
	$(BIN)/huohou demo

pipeline: $(VENV)/.lora
	$(BIN)/python examples/pipeline.py

test: $(VENV)/.dev
	OMP_NUM_THREADS=1 $(PYTEST)

test-all: $(VENV)/.dev
	OMP_NUM_THREADS=1 $(PYTEST) -m "not gpu"

check: $(VENV)/.dev
	$(BIN)/ruff format --check src tests benchmarks examples faults
	$(BIN)/ruff check src tests benchmarks examples faults
	$(BIN)/pyright
	OMP_NUM_THREADS=1 $(PYTEST) -m "not slow and not external and not gpu and not heavy"

format: $(VENV)/.dev
	$(BIN)/ruff format src tests benchmarks examples faults
	$(BIN)/ruff check --fix src tests benchmarks examples faults

docs: $(VENV)/.dev
	$(BIN)/python -m huohou.config.reference docs
	$(BIN)/python -m huohou.audit.rules.pages docs

frameworks: $(VENV)/.dev
	$(BIN)/python tests/external/environments.py $(FRAMEWORKS)
	HUOHOU_FRAMEWORKS=$(abspath $(FRAMEWORKS)) OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n0 -m "" tests/external/test_frameworks.py
	PYTHONPATH=src OMP_NUM_THREADS=1 $(FRAMEWORKS)/adapters/bin/python -m pytest -n0 -m "not gpu" \
		tests/adapters/test_lightning.py tests/adapters/test_optax.py tests/adapters/test_torchtitan.py

bench: $(VENV)/.dev
	$(BIN)/python -m benchmarks

clean:
	rm -rf $(VENV) build dist runs .pytest_cache .ruff_cache .hypothesis
	find src tests benchmarks examples faults -name __pycache__ -type d -prune -exec rm -rf {} +

# torch comes first: a package that depends on torch would otherwise choose its build.
$(VENV)/.torch:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "huohou needs Python 3.11 or newer; write: make PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)
	$(PIP) $(TORCH_FLAGS) "$(TORCH)"
	@touch $@

$(VENV)/.train: $(VENV)/.torch pyproject.toml
	$(PIP) --editable ".[train,png]"
	@touch $@

$(VENV)/.lora: $(VENV)/.train pyproject.toml
	$(PIP) --editable ".[all]"
	@touch $@

# DeepSpeed builds its operators when they are first used, and not while it is installed.
$(VENV)/.dev: $(VENV)/.lora pyproject.toml
	DS_BUILD_OPS=0 $(PIP) --editable ".[dev]"
	@touch $@
