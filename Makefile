# The commands people use. Each is one line that can be run by hand.
.PHONY: help setup quickstart test lint docs

help:  ## show this list
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/'

setup:  ## install wsol_mm and what the tests need, into the active environment or .venv
	bash tools/setup_env.sh tests

quickstart:  ## draw a small data set, train, test, make a picture (about two minutes)
	bash tools/quickstart.sh

test:  ## run the tests; ARGS="tests/test_models -x" goes to pytest
	bash tools/run_tests.sh $(ARGS)

lint:  ## check style, format and types
	python="$$(bash tools/setup_env.sh tests)" && \
	"$$python" -m ruff check . && "$$python" -m ruff format --check . && "$$python" -m mypy

docs:  ## write the generated tables and build the site into work_dirs/site
	python="$$(bash tools/setup_env.sh tests)" && \
	"$$python" -m pip install --quiet -c requirements/pins.txt -r requirements/docs.txt && \
	"$$python" docs/generate_tables.py && "$$python" -m mkdocs build --strict
