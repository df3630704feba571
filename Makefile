# make book: set up and build the book.  make pdf: all of it as one PDF.  make test: set up, check and test everything.
# make pictures: of every page.
VENV ?= .venv
PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN = $(VENV)/bin
LOCK = $(shell cat requirements.lock pyproject.toml | cksum | tr -d ' ')
INSTALLED = $(VENV)/.installed-$(LOCK)

.PHONY: book pdf test pictures setup format clean

book: setup
	PYTHONPATH="$(CURDIR)/book/_ext:$$PYTHONPATH" $(BIN)/jupyter-book build book --config _config.yml --toc "$(CURDIR)/_toc.yml" --all -W -n --keep-going
	@echo "The book: file://$(CURDIR)/book/_build/html/index.html"

# The whole book as book/_build/book.pdf, printed by chromium.
pdf: setup
	$(BIN)/jupyter-book build book --builder singlehtml
	$(BIN)/python book/_ext/printing.py

# Types are checked beside the tests, which wait at times: four processes of them keep two cores busy.
test: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/mypy & types=$$!; \
	$(BIN)/pytest --numprocesses 4 --dist loadgroup --no-loadscope-reorder --durations 40 tests; tests=$$?; \
	wait $$types && exit $$tests

# Every page at three widths, in light and dark, to be looked at.
pictures: book
	PYTHONPATH=book/_ext $(BIN)/python tests/pictures.py

# The environment may serve several checkouts: this one's package is installed into it where another's is.
setup: $(INSTALLED)
	@$(BIN)/python -c "import pathlib, smooth_interpolation as s; exit(not pathlib.Path(s.__file__).resolve().is_relative_to(pathlib.Path('lib').resolve()))" 2>/dev/null \
	|| $(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .

$(INSTALLED):
	@test -n "$(PYTHON)" || { echo "Python 3.11 is needed: install it, or name one with make PYTHON=..."; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --requirement requirements.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	touch $@

# The notebooks beside book/*.md, which are the source whatever is newer, and the code's layout.
format: setup
	$(BIN)/python book/_ext/pairs.py book/*.md
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	$(BIN)/jupyter-book clean book --all
