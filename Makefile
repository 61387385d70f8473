# SPDX-License-Identifier: Apache-2.0
# `make demo` and `make test` do all their own set-up.
.PHONY: demo demo-hardened test test-one-half test-other-half lint format vectordb-test pipeline-test catalogue-test bench-up bench-down bench-test vm-test figures-drill figures-safety figures-hosts figures-packages figures-dkms figures-fleet figures-serving figures-drills figures-catalogue figures-vectordb mutation offline-bundle clean

bin := .venv/bin
# Tests that watch a service or a host from second to second: one in each half at a time; what only computes is not among them.
moved := tests/unit/controls/test_lifecycle_lost.py
one-half := tests/lab tests/unit/agent $(moved)
other-half := tests/unit/controls
alone := $(one-half) $(other-half)
# A sample of the tests on systemd hosts, which `make bench-test` has whole; CI=true refuses to leave it out.
on-hosts := tests/bench/test_agent.py
# A sample of the tests on a real card, which `make gpu-test` has whole; here its GPU is simulated.
on-a-card := $(addprefix tests/gpu/test_,1_recorded.py 7_process_stop.py)
# A disk that is filled under a database's data.
full-disk := tests/unit/host/test_fill_disk.py tests/unit/faults/test_disk_fill.py
computes := $(addprefix tests/unit/agent/test_,state_machine.py damage.py damage_every_byte.py)

demo:
	@scripts/install.sh lab
	@scripts/demo.sh fragile

demo-hardened:
	@scripts/install.sh lab
	@scripts/demo.sh hardened

test: lint
	$(bin)/pytest -q -n 2 --dist loadfile --ignore=tests/bench --ignore=tests/gpu --ignore=tests/pipeline --ignore=tests/vm/long --ignore=tests/vectordb/long $(addprefix --ignore=,$(alone))
	$(bin)/pytest -q -n 2 --dist loadfile $(computes)
	@$(MAKE) --no-print-directory -j2 -Oline test-one-half test-other-half

test-one-half:
	$(bin)/pytest -q -p no:cacheprovider $(addprefix --ignore=,$(computes)) $(one-half) $(on-hosts)

test-other-half:
	$(bin)/pytest -q -p no:cacheprovider $(addprefix --ignore=,$(moved)) $(other-half)
	$(bin)/chaosgpu sim run --profile h100 -- $(bin)/pytest -q -p no:cacheprovider $(on-a-card)

lint:
	@scripts/install.sh lab,dev
	$(bin)/ruff check .
	$(bin)/ruff format --check .
	$(bin)/mypy

format:
	@scripts/install.sh lab,dev
	$(bin)/ruff check --fix .
	$(bin)/ruff format .

.PHONY: docs
docs:
	@scripts/install.sh dev
	$(bin)/python scripts/reference.py
	$(bin)/sphinx-build -q -W --keep-going -c docs -b html . dist/docs

bench-up:
	@scripts/install.sh lab,dev
	@scripts/bench-up.sh $(or $(HOSTS),8)

bench-down:
	@scripts/bench-down.sh

bench-test: lint
	@scripts/bench-test.sh

vectordb-test: lint
	$(bin)/pytest -q tests/vectordb tests/unit/vectordb $(full-disk)
	$(bin)/python benchmarks/vectordb_files.py; $(bin)/python benchmarks/vectordb.py; lied=$$?; $(bin)/python benchmarks/catalogue.py --databases; held=$$?; \
		$(bin)/python benchmarks/page.py; exit $$((lied + held))

vm-test: lint
	CHAOSGPU_NOTE_FIGURES=1 $(bin)/pytest -q tests/vm

# On a machine with a real card: reads it, takes its memory and time, sets nothing on it.
.PHONY: gpu-test
gpu-test:
	@scripts/install.sh dev
	@scripts/gpu-test.sh; held=$$?; $(bin)/python benchmarks/real_gpu.py dist/gpu --keep >/dev/null; \
		$(bin)/python benchmarks/page.py; exit $$held

pipeline-test: lint
	$(bin)/pytest -q tests/pipeline

catalogue-test: lint
	$(bin)/python benchmarks/catalogue.py; held=$$?; $(bin)/python benchmarks/page.py; exit $$held

figures-catalogue:
	$(bin)/python benchmarks/catalogue.py --figures; held=$$?; $(bin)/python benchmarks/page.py; exit $$held

figures-drill:
	@scripts/install.sh lab,dev
	$(bin)/python benchmarks/drill.py; held=$$?; $(bin)/python benchmarks/page.py; exit $$held

figures-safety:
	@scripts/install.sh lab,dev
	$(bin)/python benchmarks/safety.py; held=$$?; $(bin)/python benchmarks/page.py; exit $$held

figures-hosts:
	@scripts/install.sh lab,dev
	$(bin)/python benchmarks/latency.py && $(bin)/python benchmarks/losses.py && $(bin)/python benchmarks/soak.py

figures-packages:
	@scripts/install.sh lab,dev
	$(bin)/python benchmarks/packages.py; held=$$?; $(bin)/python benchmarks/page.py; exit $$held

figures-dkms:
	@scripts/install.sh lab,dev
	$(bin)/python benchmarks/dkms.py; held=$$?; $(bin)/python benchmarks/page.py; exit $$held

figures-fleet:
	@scripts/install.sh lab,dev
	$(bin)/python benchmarks/fleet.py; held=$$?; $(bin)/python benchmarks/page.py; exit $$held

figures-serving:
	@scripts/install.sh lab,dev
	$(bin)/python benchmarks/traffic.py; held=$$?; $(bin)/python benchmarks/page.py; exit $$held

figures-drills:
	@scripts/install.sh lab,dev
	$(bin)/python benchmarks/drills.py; held=$$?; $(bin)/python benchmarks/page.py; exit $$held

.PHONY: figures-evidence
figures-evidence:
	@scripts/install.sh lab,dev
	$(bin)/python benchmarks/evidence.py; held=$$?; $(bin)/python benchmarks/page.py; exit $$held

figures-vectordb:
	@scripts/install.sh lab,dev
	$(bin)/python benchmarks/vectordb_files.py; $(bin)/python benchmarks/vectordb.py; held=$$?; $(bin)/python benchmarks/page.py; exit $$held

mutation:
	@scripts/install.sh lab,dev
	$(bin)/python benchmarks/mutation_runs.py

offline-bundle:
	@scripts/install.sh dev,bundle
	@$(bin)/python scripts/offline_bundle.py dist/chaosgpu-offline.tar.gz

clean:
	-$(bin)/chaosgpu lab down
	rm -rf .venv .venv-bootstrap build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
