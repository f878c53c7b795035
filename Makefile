# Every target sets up what it needs: a virtual environment in .venv, versions as pinned in constraints.txt.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin

.PHONY: demo test check bench faces rehearsal pages gallery site dist setup browser clean

# Trains small models on embedded data and names the pictures they drew.
demo: $(VENV)/.installed
	$(BIN)/morpho demo --out demo

# Three workers on two cores, as many tests wait for a browser or a process; each takes neighbours, which share fixtures.
test: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -n 3 --dist worksteal

check: $(VENV)/.installed-dev
	$(BIN)/ruff check src tests bench examples website
	$(BIN)/ruff format --check src tests bench examples website
	$(BIN)/mypy
	$(BIN)/python -m bench sizes

bench: $(VENV)/.installed-dev
	$(BIN)/python -m bench

# Trains the faces that `morpho studio` opens with, chooses its seeds, and puts the weights into the package.
faces: $(VENV)/.installed
	$(BIN)/python -m bench faces --out runs/studio-faces
	$(BIN)/python -m morphospace.studio.faces runs/studio-faces

# Plays training on two machines, in two network namespaces: as root, on Linux; says so and does nothing elsewhere.
rehearsal: $(VENV)/.installed
	$(BIN)/python -m bench rehearsal

# Writes pages that open with a double click: two models, and the simulations.
pages: pages/faces.html pages/digits.html pages/play.html

pages/faces.html: $(VENV)/.installed src/morphospace/studio/faces.safetensors
	mkdir -p pages
	$(BIN)/morpho export --format html --out $@

pages/digits.html: $(VENV)/.installed
	mkdir -p pages
	$(BIN)/morpho train --recipe demo-digits-vae --out runs/pages/digits
	$(BIN)/morpho export runs/pages/digits --format html --what decoder --out $@

pages/play.html: $(VENV)/.installed
	mkdir -p pages
	$(BIN)/morpho play --out $@

# Writes the two pages that docs/gallery.md links.
gallery: pages/faces.html pages/digits.html
	mkdir -p docs/exported
	cp $^ docs/exported/

# Builds the documentation as a site: open site/index.html. Any link that leads nowhere stops it.
site: $(VENV)/.installed-dev pages/play.html
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	@echo "site/index.html"

# Builds the wheel and the source archive, checks them, and runs the wheel's commands without extras in an empty folder.
dist: $(VENV)/.installed-dev
	rm -rf dist
	$(BIN)/python -m build --no-isolation --outdir dist .
	$(BIN)/python -m bench release

setup: $(VENV)/.installed-dev

# What the tests of the studio's page need beside a chromium: a checker of accessibility, for tests alone.
AXE := axe-core@4.14.1
browser: $(VENV)/axe/package/axe.min.js

$(VENV)/axe/package/axe.min.js: | $(VENV)/bin/python
	mkdir -p $(VENV)/axe
	cd $(VENV)/axe && npm pack --silent $(AXE) && tar xzf axe-core-*.tgz && rm axe-core-*.tgz
	touch $@

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet -c constraints.txt -e .
	touch $@

$(VENV)/.installed-dev: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet -c constraints.txt -e ".[dev]"
	touch $@ $(VENV)/.installed

clean:
	rm -rf $(VENV) demo pages site dist build src/*.egg-info
