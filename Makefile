# freehold: one readable Makefile. `make help` lists the targets.
# Every object lands under build/<kind>/; kinds differ in flags only: rel (shipped), test, asan, ubsan, tsan, cov.

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
HARDEN    := -D_FORTIFY_SOURCE=3 -fstack-protector-strong -fPIE -ftrivial-auto-var-init=zero
HARDEN_LD := -pie -Wl,-z,relro,-z,now -Wl,-z,noexecstack
ifeq ($(ARCH),x86_64)
HARDEN    += -fcf-protection
endif
CPPFLAGS  += -Isrc -Iinclude -Itests -D_GNU_SOURCE -DFH_VERSION='"$(VERSION)"' -include src/base/banned.h
LDLIBS    += -lcrypto -lpthread -lm

rel_FLAGS   := -O2 -g $(HARDEN)
test_FLAGS  := -O1 -g -DFH_TEST_BUILD $(HARDEN)
asan_FLAGS  := -O1 -g -DFH_TEST_BUILD -fsanitize=address -fno-omit-frame-pointer
ubsan_FLAGS := -O1 -g -DFH_TEST_BUILD -fsanitize=undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
tsan_FLAGS  := -O1 -g -DFH_TEST_BUILD -fsanitize=thread -fno-omit-frame-pointer
cov_FLAGS   := -O0 -g -DFH_TEST_BUILD --coverage
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
isa_flags = $(if $(filter src/kernel/x86_% src/kernel/arm_%,$(1)),$(ISA_$(call isa_of,$(1))))

.PHONY: all
all: $(BUILD)/freehold

$(O)/%.o: %.c
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(CFLAGS_ALL) $(call isa_flags,$<) -MMD -MP -c $< -o $@

$(O)/libfreehold.a: $(LIB_OBJ)
	@rm -f $@
	ar rcs $@ $^

$(O)/fh-test: $(TEST_OBJ) $(O)/libfreehold.a
	$(CC) $(LDFLAGS_ALL) $(TEST_OBJ) $(O)/libfreehold.a $(LDLIBS) -o $@

-include $(LIB_OBJ:.o=.d) $(TEST_OBJ:.o=.d)
