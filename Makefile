# The one vocabulary, for people and for continuous integration. Needs Python 3.11 to 3.13 and make.
PYTHON ?= python3
BIN := .venv/bin
PYTEST := -m pytest -n 2 --dist loadfile

.PHONY: demo test quick test-all test-page check check-page lowest bench torture torture-short docs clean

demo: .venv/demo
	$(BIN)/sppnet demo

# Three tiers. Each says at its end what it left out (no browser here, no data, too slow) and how to get it.
test: .venv/dev
	$(BIN)/python $(PYTEST) -m "not slow"

test-all: .venv/dev test-page
	$(BIN)/python $(PYTEST)

quick: .venv/dev # the rooms whose tests fit no model
	$(BIN)/python $(PYTEST) -m "not slow" $(filter-out tests/test_models.py,$(wildcard tests/test_*.py)) $(addprefix tests/,data evaluation features geometry images pipeline storage)

test-page: # the pages' pure modules, by Node's own runner
	@if command -v node >/dev/null; then node --test tests/page/; else echo "left out: the pages' unit tests need Node"; fi

check: .venv/dev check-page
	@if test -x $(BIN)/hadolint; then $(BIN)/hadolint Dockerfile; else echo "left out: hadolint is not to be had here"; fi
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

check-page: # the linter and formatter of JavaScript and CSS
	@if command -v npm >/dev/null && npm ci --silent; then npm run --silent check; \
	else echo "left out: checking JavaScript and CSS needs npm, and once the network"; fi

# The default tier with the oldest versions that pyproject.toml allows.
lowest:
	$(PYTHON) -m venv .venv-lowest
	.venv-lowest/bin/python -m pip install --quiet uv
	.venv-lowest/bin/uv pip install --quiet --python .venv-lowest/bin/python --resolution lowest-direct --editable '.[dev]'
	.venv-lowest/bin/python $(PYTEST) -m "not slow"

bench: .venv/dev
	$(BIN)/python -m benchmarks

# Everything that can go wrong, over and over: an hour; the short form takes two minutes and writes nothing down.
torture: .venv/dev
	$(BIN)/python -m benchmarks.torture --seconds 3600

torture-short: .venv/dev
	$(BIN)/python -m benchmarks.torture --seconds 100 --dry

docs: .venv/dev
	$(BIN)/python -m sphinx -q -W --keep-going -b html docs docs/_build
	@echo "Open docs/_build/index.html"

# A stamp a set of packages: installed once, and again when pyproject.toml changes.
.venv/demo .venv/dev: .venv/%: pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(None if (3, 11) <= v <= (3, 13) else f"sppnet: Python must be 3.11 to 3.13, got {v[0]}.{v[1]}. Name one: make PYTHON=python3.11")'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --editable '.[$*]'
	@touch $@

clean:
	rm -rf .venv .venv-lowest node_modules .mypy_cache .pytest_cache .ruff_cache .hypothesis docs/_build
