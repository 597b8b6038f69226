# Every target but `clean` needs Python >= 3.10, pip and make; everything else goes into a fresh
# .venv. On Linux the default PyTorch is the CUDA build; for the smaller CPU build hand pip the
# options of PyTorch's own install page: make demo TORCH="torch==2.13.0 --index-url <CPU index>"
PYTHON ?= python3
VENV ?= .venv
TORCH ?= torch==2.13.0
# Processes among which the files of tests are shared out.
WORKERS ?= 2
BIN = $(VENV)/bin
# Idle worker threads sleep instead of spinning: much faster on a machine that is also busy.
export OMP_WAIT_POLICY ?= passive

.PHONY: demo test lint docs coverage mutants install clean

demo: install
	$(BIN)/semtta demo --output semtta-out/demo --overwrite

test: install
	$(BIN)/python -m pytest tests -n $(WORKERS) --dist loadfile

# Each call of make builds .venv once: `make lint test` shares one, two calls build it twice.
lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy semtta

# The documentation as a site, in build/site; needs no network once everything is installed.
docs: install
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

# Line coverage of the heart: adaptation, motion priors and geometry.
coverage: install
	$(BIN)/python -m pytest tests -n $(WORKERS) --dist loadfile \
		--cov=semtta/tta --cov=semtta/motion --cov=semtta/geometry \
		--cov-report=term-missing:skip-covered

# Whether the tests of that heart notice when one small thing in it is wrong; takes about an hour.
mutants: install
	$(BIN)/python -m tools.mutate --sample 400

# PyTorch first and by version, so that nothing below asks for another build of it.
install:
	$(PYTHON) -m venv --clear $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check $(TORCH)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[test,dev]"

clean:
	rm -rf $(VENV) build *.egg-info semtta-out
