# Makefile - builds, tests, starts and installs kvd. `make help` lists the targets.
#
# One file, no recursion over folders. Sources are found by wildcard: a new .c file
# needs no change here. Objects and programs of a mode lie together:
#   MODE=release -> $(BUILD)/        MODE=debug|asan|tsan|fuzz|mutants -> $(BUILD)/MODE/
# so `make BUILD=/tmp/x MODE=asan` works in /tmp/x/asan.
#
# unit, scenario and sim run in debug mode (raft_check after each step) unless MODE
# says otherwise. T= picks a folder or test (T=raft, T=raft/log), C= one case.

SHELL := /bin/bash
.SHELLFLAGS := -o pipefail -c
.DELETE_ON_ERROR:
.SUFFIXES:
MAKEFLAGS += --no-builtin-rules --no-print-directory

# ---- mode and folders -----------------------------------------------------------

BUILD ?= build
DEBUG_GOALS := unit scenario sim tests
ifeq ($(origin MODE),undefined)
  ifeq ($(and $(MAKECMDGOALS),$(if $(filter-out $(DEBUG_GOALS),$(MAKECMDGOALS)),,1)),1)
    MODE := debug
  else
    MODE := release
  endif
endif
MODES := release debug asan tsan fuzz mutants
ifeq ($(filter $(MODE),$(MODES)),)
  $(error MODE=$(MODE) is not one of $(MODES))
endif
O := $(if $(filter release,$(MODE)),$(BUILD),$(BUILD)/$(MODE))

PREFIX  ?= /usr/local
LIBDIR  ?= $(PREFIX)/lib
BINDIR  ?= $(PREFIX)/bin
INCDIR  ?= $(PREFIX)/include
VERSION := 0.1.0
SOVERSION := 0

NODES     ?= 3
NGROUPS   ?= 8
PORT_BASE ?= 7400
CLUSTER_DIR ?= cluster
FUZZ_SECONDS ?= 10
SIM_LMDB_SEEDS ?= 40
HOURS ?= 1
SIM_SEEDS ?= 300
SIM_FIRST ?= 1
MUTANT_RUNS ?= 5
MUTANT_SEEDS ?= 1000
JOBS ?= $(shell nproc 2>/dev/null || echo 2)

Q := $(if $(V),,@)
comma := ,

# ---- compiler -------------------------------------------------------------------

ifeq ($(MODE),fuzz)
  CC := clang-14
else ifeq ($(origin CC),default)
  CC := gcc
endif
AR := ar
LD := ld
OBJCOPY := objcopy
PKG_CONFIG ?= pkg-config

WARN := -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wstrict-prototypes \
  -Wmissing-prototypes -Wvla -Wundef -Werror
CHECKED := -DKV_DEBUG_CHECKS=1 -fno-omit-frame-pointer
FAILPOINTS := -DKV_FAILPOINTS=1
CFLAGS_release := -O2 -g -D_FORTIFY_SOURCE=2 -fstack-protector-strong
CFLAGS_debug   := -O1 -g $(CHECKED) $(FAILPOINTS)
CFLAGS_asan    := -O1 -g $(CHECKED) $(FAILPOINTS) -fsanitize=address,undefined -fno-sanitize-recover=all
CFLAGS_tsan    := -O1 -g $(CHECKED) -fsanitize=thread
CFLAGS_fuzz    := -O1 -g $(CHECKED) -fsanitize=fuzzer-no-link,address,undefined \
  -fno-sanitize-recover=all -Wno-gnu-zero-variadic-macro-arguments
CFLAGS_mutants := -O2 -g -DKV_MUTANTS=1 $(FAILPOINTS)
LDFLAGS_release := -pie -Wl,-z,relro,-z,now
LDFLAGS_asan   := -fsanitize=address,undefined
LDFLAGS_tsan   := -fsanitize=thread
LDFLAGS_fuzz   := -fsanitize=address,undefined

# pkg-config of the first module that is there, else the given fallback.
pkg = $(shell for m in $(2); do $(PKG_CONFIG) --exists $$m 2>/dev/null && \
  { $(PKG_CONFIG) $(1) $$m; exit; }; done; echo "$(3)")

LIBS_uv      := $(call pkg,--libs,libuv,-luv -lpthread -ldl)
LIBS_msgpack := $(call pkg,--libs,msgpack-c msgpack,-lmsgpackc)
LIBS_lmdb    := $(call pkg,--libs,lmdb,-llmdb)
LIBS_inih    := $(call pkg,--libs,inih,-linih)
LIBS_jansson := $(call pkg,--libs,jansson,-ljansson)
LIBS_cmocka  := $(call pkg,--libs,cmocka,-lcmocka)
CFLAGS_pkg   := $(sort $(call pkg,--cflags,libuv,) $(call pkg,--cflags,msgpack-c msgpack,) \
  $(call pkg,--cflags,lmdb,) $(call pkg,--cflags,jansson,))

# llhttp: the library where the system has it, else the C sources Debian ships.
ifeq ($(shell $(PKG_CONFIG) --exists libllhttp 2>/dev/null && echo y),y)
  CFLAGS_llhttp := $(shell $(PKG_CONFIG) --cflags libllhttp)
  LIBS_llhttp   := $(shell $(PKG_CONFIG) --libs libllhttp)
  LLHTTP_SRC    :=
else
  LLHTTP_DIR    ?= /usr/share/llhttp
  CFLAGS_llhttp := -isystem /usr/share/include/llhttp
  LIBS_llhttp   :=
  LLHTTP_SRC    := $(LLHTTP_DIR)/llhttp.c $(LLHTTP_DIR)/api.c $(LLHTTP_DIR)/http.c
endif

ALL_CPPFLAGS := -std=gnu11 -D_GNU_SOURCE -I. -DKV_VERSION_STRING='"$(VERSION)"' \
  $(CFLAGS_pkg) $(CFLAGS_llhttp) $(CPPFLAGS)
ALL_CFLAGS  = $(ALL_CPPFLAGS) $(WARN) $(CFLAGS_$(MODE)) -fPIE $(CFLAGS)
ALL_LDFLAGS = $(LDFLAGS_$(MODE)) $(LDFLAGS)

# ---- sources --------------------------------------------------------------------

obj  = $(patsubst %.c,$(O)/%.o,$(1))
pic  = $(patsubst %.c,$(O)/pic/%.o,$(1))

BASE_SRC    := $(wildcard raft/base/*.c)
RAFT_SRC    := $(wildcard raft/*.c)
RPC_SRC     := $(wildcard rpc/*.c)
STORAGE_SRC := $(wildcard storage/*.c)
SERVER_SRC  := $(filter-out server/main.c,$(wildcard server/*.c))
KVCTL_SRC   := $(wildcard client/kvctl*.c)
CLIENT_SRC  := $(filter-out $(KVCTL_SRC),$(wildcard client/*.c))
JEPSEN_SRC  := $(filter-out jepsen/main.c jepsen/layer/%,$(wildcard jepsen/*.c jepsen/*/*.c))
LAYER_SRC   := $(wildcard jepsen/layer/*.c)
TESTLIB_SRC := $(wildcard tests/lib/*.c)
SIM_SRC     := $(filter-out tests/sim/%main.c tests/sim/test_%,$(wildcard tests/sim/*.c))
LOAD_SRC    := $(wildcard tests/bench/load*.c)
PRESS_SRC   := $(wildcard tests/bench/press*.c)
# What libkv carries besides its own objects, so that it can be used alone.
# Peer frames are between servers only; they would pull in raft/.
KVBASE_SRC  := $(filter-out rpc/peer%,$(RPC_SRC)) $(BASE_SRC)
LLHTTP_OBJ  := $(patsubst $(LLHTTP_DIR)/%.c,$(O)/llhttp/%.o,$(LLHTTP_SRC))

LIBBASE    := $(O)/libbase.a
LIBRAFT    := $(O)/libraft.a
LIBRPC     := $(O)/librpc.a
LIBSTORAGE := $(O)/libstorage.a
LIBSERVER  := $(O)/libserver.a
LIBSIM     := $(O)/libsim.a
LIBTEST    := $(O)/libtest.a
LIBJEPSEN  := $(O)/libjepsen.a
LIBLAYER   := $(O)/libkvlayer.so
LIBCLIENT  := $(O)/libclient.a
LIBKV      := $(O)/libkv.a
LIBKV_SO   := $(O)/libkv.so
HOUSE      := $(LIBSERVER) $(LIBSTORAGE) $(LIBRPC) $(LIBRAFT) $(LIBBASE)
HOUSE_LIBS := $(LIBS_lmdb) $(LIBS_msgpack) $(LIBS_uv) $(LIBS_inih) \
  $(LIBS_llhttp) -lpthread
JEPSEN_LIBS := $(LIBS_msgpack) $(LIBS_uv) $(LIBS_jansson) -lm -lpthread

PROGRAMS := $(if $(wildcard server/main.c),$(O)/kvd) \
  $(if $(wildcard client/kvctl.c client/kvctl_main.c),$(O)/kvctl) \
  $(if $(wildcard tests/sim/main.c),$(O)/kvsim) \
  $(if $(wildcard jepsen/main.c),$(O)/kvjepsen) \
  $(if $(LOAD_SRC),$(O)/kvload) $(if $(PRESS_SRC),$(O)/kvpress) \
  $(if $(LAYER_SRC),$(LIBLAYER)) $(if $(filter mutants,$(MODE)),$(O)/kvmutants)
LIBRARIES := $(LIBBASE) $(LIBRAFT) $(LIBRPC) $(LIBSTORAGE) $(LIBSERVER) \
  $(if $(CLIENT_SRC),$(LIBCLIENT) $(LIBKV) $(LIBKV_SO)) $(if $(JEPSEN_SRC),$(LIBJEPSEN))

# ---- what to build --------------------------------------------------------------

.PHONY: all server client
all: $(LIBRARIES) $(PROGRAMS) ## build everything of MODE (release by default)

server: $(filter %/kvd,$(PROGRAMS)) ## build kvd

client: $(filter %/kvctl %/libkv.a %/libkv.so,$(PROGRAMS) $(LIBRARIES)) ## build kvctl and libkv

# A list file changes only when its text does, so that a removed source or another
# flag rebuilds what depends on it, and nothing else does.
FORCE:
.PHONY: FORCE
define keep_text
	@mkdir -p $(@D); printf '%s\n' '$(subst ','\'',$(1))' | cmp -s - $@ || \
	  printf '%s\n' '$(subst ','\'',$(1))' > $@
endef

$(O)/flags: FORCE
	$(call keep_text,$(CC) $(ALL_CFLAGS) | $(ALL_LDFLAGS))

say = $(if $(V),,@printf '  %-5s %s\n' $(1) $(2))

$(O)/%.o: %.c $(O)/flags
	$(call say,CC,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) $(ALL_CFLAGS) -MMD -MP -c $< -o $@

$(O)/pic/%.o: %.c $(O)/flags
	$(call say,CC,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) $(filter-out -fPIE,$(ALL_CFLAGS)) -fPIC -fvisibility=hidden -MMD -MP -c $< -o $@

$(O)/llhttp/%.o: $(LLHTTP_DIR)/%.c $(O)/flags
	$(call say,CC,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) $(filter-out $(WARN),$(ALL_CFLAGS)) -w -MMD -MP -c $< -o $@

# $(1) archive, $(2) its objects.
define archive
$(1).list: FORCE
	$$(call keep_text,$(2))
$(1): $(2) $(1).list
	$$(call say,AR,$$@)
	$$(Q)rm -f $$@ && $$(AR) rcs $$@ $(2)
endef
$(eval $(call archive,$(LIBBASE),$(call obj,$(BASE_SRC))))
$(eval $(call archive,$(LIBRAFT),$(call obj,$(RAFT_SRC))))
$(eval $(call archive,$(LIBRPC),$(call obj,$(RPC_SRC))))
$(eval $(call archive,$(LIBSTORAGE),$(call obj,$(STORAGE_SRC))))
$(eval $(call archive,$(LIBSERVER),$(call obj,$(SERVER_SRC)) $(LLHTTP_OBJ)))
$(eval $(call archive,$(LIBSIM),$(call obj,$(SIM_SRC))))
$(eval $(call archive,$(LIBTEST),$(call obj,$(TESTLIB_SRC))))
$(eval $(call archive,$(LIBJEPSEN),$(call obj,$(JEPSEN_SRC))))
$(eval $(call archive,$(LIBCLIENT),$(call pic,$(CLIENT_SRC) $(KVBASE_SRC))))

# libkv.a is for others: one object in which only what kv.h declares has a name.
# Our own programs and tests link libclient.a, the same code with all its names.
$(LIBKV): $(LIBCLIENT)
	$(call say,AR,$@)
	$(Q)$(LD) -r -o $(O)/libkv.o --whole-archive $<
	$(Q)$(OBJCOPY) --localize-hidden $(O)/libkv.o
	$(Q)rm -f $@ && $(AR) rcs $@ $(O)/libkv.o

LIBKV_LINK := $(O)/libkv.so.$(SOVERSION)
$(LIBKV_LINK): $(call pic,$(CLIENT_SRC) $(KVBASE_SRC)) $(LIBCLIENT).list $(wildcard client/libkv.map)
	$(call say,LD,$@)
	$(Q)$(CC) -shared -Wl,-soname,libkv.so.$(SOVERSION) \
	  $(if $(filter release,$(MODE)),-Wl$(comma)-z$(comma)defs) \
	  $(patsubst %,-Wl$(comma)--version-script=%,$(wildcard client/libkv.map)) \
	  $(filter-out -pie,$(ALL_LDFLAGS)) -o $@ $(filter %.o,$^) $(LIBS_msgpack) $(LIBS_uv)

$(LIBKV_SO): $(LIBKV_LINK)
	$(Q)ln -sf $(<F) $@

# The commit, for failure reports of kvsim: its file changes only when the commit does.
COMMIT := $(shell git rev-parse --short HEAD 2>/dev/null || echo unknown)
$(O)/commit: FORCE
	$(call keep_text,$(COMMIT))
$(O)/tests/sim/report.o: ALL_CPPFLAGS += -DKV_COMMIT_STRING='"$(COMMIT)"'
$(O)/tests/sim/report.o: $(O)/commit

define link
	$(call say,LD,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $(filter %.o,$^) $(filter %.a,$^) $(1)
endef

$(O)/kvd: $(call obj,server/main.c) $(HOUSE)
	$(call link,$(HOUSE_LIBS))

$(O)/kvctl: $(call obj,$(KVCTL_SRC)) $(LIBCLIENT)
	$(call link,$(LIBS_msgpack) $(LIBS_uv) $(LIBS_jansson) -lm)

$(O)/kvload: $(call obj,$(LOAD_SRC)) $(LIBCLIENT)
	$(call link,$(LIBS_msgpack) $(LIBS_uv))

$(O)/kvpress: $(call obj,$(PRESS_SRC)) $(LIBRPC) $(LIBRAFT) $(LIBBASE)
	$(call link,$(LIBS_msgpack))

$(O)/kvsim: $(call obj,$(wildcard tests/sim/main.c)) $(LIBSIM) $(LIBTEST) $(HOUSE)
	$(call link,$(HOUSE_LIBS))

$(O)/kvmutants: $(call obj,tests/sim/mutants_main.c) $(LIBSIM) $(LIBTEST) $(HOUSE)
	$(call link,$(HOUSE_LIBS))

$(O)/kvjepsen: $(call obj,$(wildcard jepsen/main.c)) $(LIBJEPSEN) $(LIBCLIENT)
	$(call link,$(JEPSEN_LIBS))

# The disk layer of jepsen is loaded before kvd; it links nothing of ours, and no
# sanitizer: the one in kvd is enough.
$(LIBLAYER): $(LAYER_SRC) $(wildcard jepsen/layer/*.h)
	$(call say,LD,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) $(ALL_CPPFLAGS) $(WARN) -O2 -g -fPIC -fvisibility=hidden -shared -o $@ \
	  $(LAYER_SRC) -ldl -lpthread

# ---- tests: tests/<folder>/test_*.c, linked with what that folder may know ------

TEST_SRC := $(wildcard tests/*/test_*.c tests/*/*/test_*.c)
TEST_BIN := $(patsubst %.c,$(O)/%,$(TEST_SRC))
NET := $(LIBS_msgpack) $(LIBS_uv)

TEST_DEPS_base    := $(LIBTEST) $(LIBBASE)
TEST_DEPS_raft    := $(LIBTEST) $(LIBRAFT) $(LIBBASE)
TEST_DEPS_rpc     := $(LIBTEST) $(LIBRPC) $(LIBRAFT) $(LIBBASE)
TEST_LIBS_rpc     := $(LIBS_msgpack)
TEST_DEPS_storage := $(LIBTEST) $(LIBSTORAGE) $(LIBRAFT) $(LIBBASE)
TEST_LIBS_storage := $(LIBS_lmdb) -lpthread
TEST_DEPS_client  := $(LIBTEST) $(LIBCLIENT) $(HOUSE)
TEST_LIBS_client  := $(HOUSE_LIBS) $(LIBS_jansson) -lm
TEST_DEPS_jepsen  := $(LIBTEST) $(LIBJEPSEN) $(LIBCLIENT) $(HOUSE)
TEST_LIBS_jepsen  := $(HOUSE_LIBS) $(JEPSEN_LIBS)
# Tests of jepsen run real nodes.
$(filter $(O)/tests/jepsen/%,$(TEST_BIN)): | $(O)/kvd $(LIBLAYER)
TEST_DEPS_other   := $(LIBSIM) $(LIBTEST) $(HOUSE)
TEST_LIBS_other   := $(HOUSE_LIBS) $(LIBS_jansson)

# $(1) a test's source; its folder is the word after tests/.
test_folder = $(word 2,$(subst /, ,$(1)))
test_kind = $(or $(filter base raft rpc storage client jepsen,$(call test_folder,$(1))),other)
# Tests of kvctl's parts need its objects, all but the one with main().
KVCTL_PARTS := $(call obj,$(filter-out client/kvctl.c client/kvctl_main.c,$(KVCTL_SRC)))
define test_rule
$(O)/$(1:.c=): $(O)/$(1:.c=.o) $(if $(findstring kvctl,$(1)),$(KVCTL_PARTS)) \
  $(TEST_DEPS_$(call test_kind,$(1)))
	$$(call link,$(LIBS_cmocka) $(TEST_LIBS_$(call test_kind,$(1))))
endef
$(foreach t,$(TEST_SRC),$(eval $(call test_rule,$(t))))

# T=raft: tests/raft/**; T=raft/log or T=log: test_log. Nothing found is an error.
T_SRC := $(if $(T),$(filter tests/$(T)/% $(foreach d,$(sort $(dir $(TEST_SRC))),\
  $(d)test_$(notdir $(T)).c $(d)$(notdir $(T)).c),$(TEST_SRC)),$(TEST_SRC))
T_SRC := $(if $(findstring /,$(T)),$(filter tests/$(T)/% tests/$(dir $(T))%,$(T_SRC)),$(T_SRC))
IS_SCENARIO := tests/scenarios/% %/test_scenario.c %/test_scenarios.c
UNIT_BIN := $(patsubst %.c,$(O)/%,$(filter-out $(IS_SCENARIO),$(T_SRC)))
SCENARIO_BIN := $(patsubst %.c,$(O)/%,$(filter $(IS_SCENARIO),$(T_SRC)))

RUNG := LADDER='$(BUILD)/ladder.tsv' JOBS='$(JOBS)' CASE='$(C)' scripts/rung.sh -o '$(O)'
in_mode = $(if $(filter release debug,$(MODE)),$(1),$(1)-$(MODE))

.PHONY: tests unit scenario rewrite sim
tests: $(TEST_BIN) ## build the test programs without running them

unit: $(UNIT_BIN) ## run unit tests; T=folder or T=folder/file, C=case
	@$(RUNG) -n $(call in_mode,unit) -t $(if $(filter release debug,$(MODE)),300,900) $(UNIT_BIN)

scenario: $(SCENARIO_BIN) ## run the scenario files
	@$(RUNG) -n $(call in_mode,scenario) -t $(if $(filter release debug,$(MODE)),300,900) $(SCENARIO_BIN)

rewrite: $(SCENARIO_BIN) ## rewrite the expected output in scenario files; explain each change
	@for t in $(SCENARIO_BIN); do KV_REWRITE=1 $$t || exit 1; done; git diff --stat -- tests

sim: $(O)/kvsim ## run the simulator over SIM_SEEDS seeds, and SIM_LMDB_SEEDS with real stores
	@KVSIM=$(O)/kvsim SIM_FIRST=$(SIM_FIRST) SIM_SEEDS=$(SIM_SEEDS) $(RUNG) -n $(call in_mode,sim) -t 1200 \
	  scripts/sim.sh $(if $(filter release debug,$(MODE)),'env SIM_ARGS=--store=lmdb SIM_TIME=20s SIM_SEEDS=$(SIM_LMDB_SEEDS) scripts/sim.sh')

SUB = $(MAKE) BUILD='$(BUILD)' V='$(V)' T='$(T)' C='$(C)' SIM_SEEDS='$(SIM_SEEDS)'
SANITIZED = unit $(if $(wildcard tests/scenarios/test_*.c tests/*/test_scenario*.c),scenario) \
  $(if $(wildcard tests/sim/main.c),sim)
.PHONY: asan tsan mutants mutants-quick mutants-unit
asan: ## unit, scenario and short sim with AddressSanitizer and UBSan
	+@rc=0; for g in $(SANITIZED); do $(SUB) MODE=asan $$g || rc=1; done; exit $$rc

tsan: ## the same with ThreadSanitizer
	+@rc=0; for g in $(SANITIZED); do $(SUB) MODE=tsan $$g || rc=1; done; exit $$rc

mutants-unit: ## bugs planted by sed, one at a time: each must fail its unit test
	@BUILD='$(BUILD)' $(RUNG) -n mutants-unit -t 1500 -j 1 scripts/mutants.sh

MUTANTS := $(O)/kvmutants
MUTANTS_FOR := tests/sim/mutants.tsv $(O)/tests/raft/test_random
MUTANTS_NEED := $(MUTANTS) $(O)/kvsim $(O)/tests/raft/test_random $(O)/tests/raft/test_paper
ifeq ($(MODE),mutants)
mutants: $(MUTANTS_NEED) ## real systems' bugs, built in: seeds until a simulator notices each
	@$(MUTANTS) --runs $(MUTANT_RUNS) --seeds $(MUTANT_SEEDS) $(if $(T),--bug $(T)) $(MUTANTS_FOR)
mutants-quick: $(MUTANTS_NEED) ## the same, each killed once; failures repeat and shrink
	@$(RUNG) -n mutants -t 1500 -j 1 '$(MUTANTS) --tap --runs 1 --seeds 600 $(MUTANTS_FOR)' \
	  'tests/sim/failure.sh $(O)/kvsim B10 B43 K24'
else
mutants mutants-quick:
	+@$(SUB) MODE=mutants MUTANT_RUNS='$(MUTANT_RUNS)' MUTANT_SEEDS='$(MUTANT_SEEDS)' $@
endif

FUZZ_SRC := $(wildcard tests/fuzz/fuzz_*.c)
FUZZ_BIN := $(patsubst %.c,$(O)/%,$(FUZZ_SRC))
define fuzz_rule
$(O)/$(1:.c=): $(O)/$(1:.c=.o) $(LIBTEST) $(LIBJEPSEN) $(HOUSE)
	$$(call link,-fsanitize=fuzzer $(HOUSE_LIBS) -lm)
endef
$(foreach f,$(FUZZ_SRC),$(eval $(call fuzz_rule,$(f))))
.PHONY: fuzz fuzzers
ifeq ($(MODE),fuzz)
fuzzers: $(FUZZ_BIN)
fuzz: $(FUZZ_BIN) ## run each fuzzer for FUZZ_SECONDS over its corpus (T=name picks one)
	@FUZZ_SECONDS='$(FUZZ_SECONDS)' FUZZ_WORK='$(BUILD)/fuzz/work' $(RUNG) -n fuzz \
	  -t $$(( $(FUZZ_SECONDS) + 60 )) \
	  $(foreach f,$(if $(T),$(filter %/fuzz_$(T),$(FUZZ_BIN)),$(FUZZ_BIN)),'scripts/fuzz.sh $(f)')
else
fuzz fuzzers:
	+@$(SUB) MODE=fuzz FUZZ_SECONDS='$(FUZZ_SECONDS)' $@
endif

BENCH_SRC := $(wildcard tests/bench/bench_*.c)
define bench_rule
$(O)/$(1:.c=): $(O)/$(1:.c=.o) $(call obj,client/kvctl_hist.c) $(LIBTEST) $(LIBJEPSEN) $(HOUSE)
	$$(call link,$(HOUSE_LIBS) $(LIBS_jansson) -lm)
endef
$(foreach b,$(BENCH_SRC),$(eval $(call bench_rule,$(b))))

.PHONY: e2e bench
e2e: all ## real processes on loopback: tests/e2e/[0-9]*.sh (T=number picks)
	@JOBS=1 BUILD='$(BUILD)' LADDER='$(BUILD)/ladder.tsv' BIN='$(O)' scripts/rung.sh -o '$(O)' \
	  -n $(call in_mode,$(if $(filter 150,$(T)),failpoints,e2e)) -t $(if $(filter 150,$(T)),600,300) -j 1 \
	  $(wildcard tests/e2e/$(if $(T),$(T)*,[0-9]*).sh)

.PHONY: jepsen jepsen-long jepsen-panic jepsen-bugs
jepsen: all ## partition tests on real processes: a matrix of short cells (T=name picks)
	@JOBS=1 BIN='$(O)' $(RUNG) -n $(call in_mode,jepsen) -t 600 -j 1 'scripts/jepsen.sh cells $(T)'

jepsen-long: all ## the same as a swarm for HOURS=1, seeds printed
	@BIN='$(O)' scripts/jepsen.sh long '$(HOURS)'

jepsen-panic: all ## nodes of a debug build end at failpoints while clients work
	+@$(SUB) MODE=debug server
	@BIN='$(O)' KVD='$(BUILD)/debug/kvd' scripts/jepsen.sh panics '$(T)'

jepsen-bugs: all ## planted bugs that kvjepsen has to find; T=K03 picks
	+@$(SUB) MODE=mutants server
	@BIN='$(O)' KVD='$(BUILD)/mutants/kvd' scripts/jepsen-bugs.sh $(T)

bench: all $(patsubst %.c,$(O)/%,$(BENCH_SRC)) ## measure failover and throughput (tests/bench)
	@BUILD='$(BUILD)' BIN='$(O)' tests/bench/run.sh

# Load on etcd and redis; the only program that needs nghttp2, so `make all` leaves it out.
RIVAL_SRC := $(wildcard tests/bench/rival*.c)
LIBS_nghttp2 := $(call pkg,--libs,libnghttp2,-lnghttp2)
$(O)/kvrival: $(call obj,$(RIVAL_SRC) client/kvctl_hist.c) $(LIBBASE)
	$(call link,$(LIBS_nghttp2))

.PHONY: bench-limits bench-versus bench-profile
bench-limits: $(O)/tests/bench/bench_limits ## what the machine can do: sync, LMDB commits, loopback echo (SECONDS=1 ROUNDS=5)
	@$< '$(or $(SECONDS),1)' '$(or $(TMPDIR),/tmp)' '$(or $(ROUNDS),5)'

bench-versus: deps-bench all $(O)/kvrival ## kvd, etcd and redis in turn, same work (ROUNDS=5 SECONDS_EACH=5)
	@BUILD='$(BUILD)' BIN='$(O)' tests/bench/versus.sh

bench-profile: all ## where a request's microseconds go, over all nodes (SHAPES="put:64:1 ...")
	@BUILD='$(BUILD)' BIN='$(O)' tests/bench/profile.sh $(SHAPES)

# ---- the tree's own rules -------------------------------------------------------

C_FILES := $(wildcard $(foreach d,raft raft/base rpc storage server client client/* jepsen jepsen/*,$(d)/*.c $(d)/*.h) \
  $(foreach d,lib raft raft/base base rpc storage server client scenarios sim jepsen fuzz bench,tests/$(d)/*.c tests/$(d)/*.h))

.PHONY: tidy selftest fmt fmt-check lint check test ci ladder
tidy: $(LIBRAFT) $(LIBBASE) $(LIBRPC) $(LIBSTORAGE) $(LIBSERVER) $(LIBJEPSEN) ## includes, purity, banned calls, READMEs, sizes
	@JOBS=1 BIN='$(O)' $(RUNG) -n tidy -t 120 tests/tidy/tidy.sh

selftest: $(LIBRAFT) ## plant one violation of each rule and demand that tidy finds it
	@BIN='$(O)' $(RUNG) -n selftest -t 120 -j 1 tests/tidy/selftest.sh

fmt: ## format all C files in place
	@clang-format-14 -i $(C_FILES)

fmt-check: ## say which C files are not formatted
	@$(RUNG) -n format -t 120 -j 1 tests/tidy/format.sh

lint: ## clang-tidy over the sources (slow), shellcheck over the scripts
	@tests/tidy/lint.sh $(filter %.c,$(C_FILES)) -- $(ALL_CPPFLAGS)

check: ## before each commit: format, tidy, build, unit (at most 60 s)
	@BUILD='$(BUILD)' scripts/ladder.sh check

test: ## install what is missing and run the ladder that fits 15 minutes
	@BUILD='$(BUILD)' scripts/ladder.sh test

ci: ## what .ci/run does: test, then the longer rungs, 80 minutes at most
	@BUILD='$(BUILD)' .ci/run

stats: ## lines, asserts, comments per folder
	@scripts/stats.sh

# ---- a cluster ------------------------------------------------------------------

CLUSTER = BIN='$(O)' NODES='$(NODES)' NODES_ORIGIN='$(origin NODES)' NGROUPS='$(NGROUPS)' \
  NGROUPS_ORIGIN='$(origin NGROUPS)' PORT_BASE='$(PORT_BASE)' PORT_BASE_ORIGIN='$(origin PORT_BASE)' \
  CLUSTER_DIR='$(CLUSTER_DIR)' scripts/cluster.sh
.PHONY: deps deps-build deps-bench up down wipe
deps: ## install the Debian packages for building and testing
	@BUILD='$(BUILD)' scripts/deps.sh build test

deps-build:
	@scripts/deps.sh build

deps-bench: ## what bench-versus compares with: etcd, redis, and nghttp2 to talk to etcd
	@BUILD='$(BUILD)' scripts/deps.sh build test bench

up: ## start a cluster: NODES=3|5 NGROUPS=8 PORT_BASE=7400
	@scripts/deps.sh build
	+@$(SUB) server client
	@$(CLUSTER) up

down: ## stop the cluster, keep its data
	@$(CLUSTER) down

wipe: ## stop the cluster and delete its data
	@$(CLUSTER) wipe

# ---- installing -----------------------------------------------------------------

.PHONY: install uninstall clean help
install: all ## install kvd, kvctl, libkv, kv.h (DESTDIR= PREFIX= LIBDIR=)
	$(Q)install -d '$(DESTDIR)$(BINDIR)' '$(DESTDIR)$(LIBDIR)/pkgconfig' '$(DESTDIR)$(INCDIR)'
	$(Q)install -m 755 $(O)/kvd $(O)/kvctl '$(DESTDIR)$(BINDIR)/'
	$(Q)install -m 644 $(LIBKV) '$(DESTDIR)$(LIBDIR)/'
	$(Q)install -m 755 $(LIBKV_LINK) '$(DESTDIR)$(LIBDIR)/libkv.so.$(VERSION)'
	$(Q)ln -sf libkv.so.$(VERSION) '$(DESTDIR)$(LIBDIR)/libkv.so.$(SOVERSION)'
	$(Q)ln -sf libkv.so.$(SOVERSION) '$(DESTDIR)$(LIBDIR)/libkv.so'
	$(Q)install -m 644 client/kv.h '$(DESTDIR)$(INCDIR)/kv.h'
	$(Q)sed -e 's|@PREFIX@|$(PREFIX)|' -e 's|@LIBDIR@|$(LIBDIR)|' -e 's|@INCDIR@|$(INCDIR)|' \
	  -e 's|@VERSION@|$(VERSION)|' scripts/libkv.pc.in > '$(DESTDIR)$(LIBDIR)/pkgconfig/libkv.pc'

uninstall: ## remove what install put there
	$(Q)rm -f '$(DESTDIR)$(BINDIR)/kvd' '$(DESTDIR)$(BINDIR)/kvctl' '$(DESTDIR)$(INCDIR)/kv.h' \
	  '$(DESTDIR)$(LIBDIR)'/libkv.a '$(DESTDIR)$(LIBDIR)'/libkv.so* \
	  '$(DESTDIR)$(LIBDIR)/pkgconfig/libkv.pc'

clean: ## delete $(BUILD)
	rm -rf '$(BUILD)'

help: ## list targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  %-10s %s\n",$$1,$$2}' $(MAKEFILE_LIST)

-include $(shell find $(O) -type f -name '*.d' -not -path '$(O)/debug/*' -not -path '$(O)/asan/*' \
  -not -path '$(O)/tsan/*' -not -path '$(O)/fuzz/*' -not -path '$(O)/mutants/*' 2>/dev/null)
