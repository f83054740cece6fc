# Each target sets up .venv by itself when it is missing or out of date.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
EXTRAS := dev
PYTEST_JOBS ?= 2

# recordings beside the checkout are used when nothing else is named
ifeq ($(BRAINALIGN_DATA),)
ifneq ($(wildcard ../shared/data),)
export BRAINALIGN_DATA := $(abspath ../shared/data)
endif
endif

.PHONY: demo test check bench docs clean

demo: $(STAMP)
	$(BIN)/brainalign demo --output demo

test: $(STAMP)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(PYTEST_JOBS) --dist loadfile

check: $(STAMP)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(STAMP)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[bench]"
	OMP_NUM_THREADS=2 $(BIN)/python benchmarks/regression.py
	OMP_NUM_THREADS=2 $(BIN)/python benchmarks/rsa.py
	OMP_NUM_THREADS=2 $(BIN)/python benchmarks/measures.py

docs: $(STAMP)
	$(BIN)/python docs/make_pictures.py
	$(BIN)/python docs/make_measures.py

$(STAMP): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[$(EXTRAS)]"
	# a reference of the parity tests; its computations need nothing of the viewer that it asks for
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -c constraints.txt mne-rsa
	touch $(STAMP)

clean:
	rm -rf $(VENV) build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
