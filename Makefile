# SPDX-License-Identifier: GPL-2.0-or-later
# dlog: every entry starts here; `make help` lists them.

V ?= 0
Q := $(if $(filter 1,$(V)),,@)
B ?= build
PREFIX ?= /usr/local
DESTDIR ?=
CC ?= gcc
VERSION := 0.1.0
SOVERSION := 0

WARN := -Wall -Wextra -Wshadow -Wstrict-prototypes -Werror
SAN ?=
CPPFLAGS += -D_GNU_SOURCE -D_FILE_OFFSET_BITS=64 -DDLOG_VERSION='"$(VERSION)"' \
	-Ishared-abi -Ihost-tools/lib -Ihost-tools/common -Ihost-tools/common/event -Ihost-tools \
	$(shell pkg-config --cflags libxml-2.0 libtraceevent 2>/dev/null)
CFLAGS ?= -O2 -g
ALL_CFLAGS = -std=gnu11 -fvisibility=hidden -fPIC $(WARN) $(SAN) $(CFLAGS) -MMD -MP

# ---- host programs: one folder of host-tools each ----

PROGS := create read qemu core monitor libvirt
NAME_monitor := dlogd
NAME_libvirt := dlog-virt
name = $(or $(NAME_$(1)),dlog-$(1))
# All C files of host-tools/NAME and of the folders in it.
sources = $(wildcard host-tools/$(1)/*.c host-tools/$(1)/*/*.c) $(ALSO_$(1))
ALSO_monitor := host-tools/libvirt/domxml.c
BINS := $(foreach p,$(PROGS),$(B)/bin/$(call name,$(p)))
LIB_OBJ := $(patsubst %.c,$(B)/obj/%.o,$(wildcard host-tools/lib/*.c host-tools/lib/*/*.c))
LIBS := $(B)/lib/libdlog.a $(B)/lib/libdlog.so.$(VERSION)
# What libdlog needs; for programs that are linked with the archive.
LDLIBS_LIB := -lelf -lz -lzstd -lfec
LDLIBS_qemu := -ljansson
LDLIBS_core := -ljansson -llzma
LDLIBS_monitor := -lsystemd -ljansson -lmicrohttpd -lnats -lvirt -lvirt-qemu -lxml2 -lssl -lcrypto -lpthread
LDLIBS_libvirt := -lvirt -lxml2
# An archive: a program is linked with what it uses of it.
COMMON_OBJ := $(patsubst %.c,$(B)/obj/%.o,$(wildcard host-tools/common/*.c host-tools/common/*/*.c))
COMMON := $(B)/lib/common.a
LDLIBS_COMMON := -Wl,--as-needed -ltraceevent -lelf -Wl,--no-as-needed
UNIT := $(patsubst tests/unit/%.c,$(B)/tests/%,$(wildcard tests/unit/*.c))
STRESS := $(patsubst tests/stress/%.c,$(B)/tests/stress/%,$(wildcard tests/stress/*.c))

.PHONY: all host guest plugin dlogctl dlogctl-static check check-long demo bench \
	scenarios scenarios-long install clean help setup lint vectors \
	baremetal baremetal-iso hypervisor hypervisor-iso

all: host guest dlogctl baremetal hypervisor

PLUGIN := $(B)/lib/libdlog-plugin.so
host: $(BINS) $(LIBS) $(B)/lib/dlog.pc $(PLUGIN)

$(B)/obj/%.o: %.c
	@mkdir -p $(@D)
	@echo "  CC      $<"
	$(Q)$(CC) $(CPPFLAGS) $(ALL_CFLAGS) -c -o $@ $<

# .incbin is nothing that -MMD sees.
$(B)/obj/host-tools/monitor/web/assets.o: host-tools/monitor/web/style.css \
	host-tools/monitor/web/script.js
$(B)/obj/host-tools/read/output/html.o: host-tools/monitor/web/style.css \
	$(wildcard host-tools/read/output/report.*)

$(B)/lib/libdlog.a: $(LIB_OBJ)
	@mkdir -p $(@D)
	@echo "  AR      $@"
	$(Q)rm -f $@ && $(AR) rcs $@ $^

$(COMMON): $(COMMON_OBJ)
	@mkdir -p $(@D)
	@echo "  AR      $@"
	$(Q)rm -f $@ && $(AR) rcs $@ $^

$(B)/lib/libdlog.so.$(VERSION): $(LIB_OBJ) host-tools/lib/libdlog.map
	@mkdir -p $(@D)
	@echo "  LD      $@"
	$(Q)$(CC) $(SAN) -shared -Wl,-soname,libdlog.so.$(SOVERSION) \
		-Wl,--version-script=host-tools/lib/libdlog.map \
		-o $@ $(LIB_OBJ) $(LDFLAGS) $(LDLIBS_LIB)
	$(Q)ln -sf $(@F) $(B)/lib/libdlog.so.$(SOVERSION)
	$(Q)ln -sf $(@F) $(B)/lib/libdlog.so

$(B)/lib/dlog.pc: host-tools/lib/dlog.pc.in Makefile
	@mkdir -p $(@D)
	$(Q)sed -e 's|@PREFIX@|$(PREFIX)|; s|@VERSION@|$(VERSION)|' $< > $@

# A program is made of all of host-tools/NAME and host-tools/common.
define PROG
$(B)/bin/$(call name,$(1)): $(patsubst %.c,$(B)/obj/%.o,$(call sources,$(1))) $(COMMON) $(B)/lib/libdlog.a
	@mkdir -p $$(@D)
	@echo "  LD      $$@"
	$$(Q)$$(CC) $$(SAN) -o $$@ $$^ $$(LDFLAGS) $$(LDLIBS_LIB) $$(LDLIBS_COMMON) $$(LDLIBS_$(1))
endef
$(foreach p,$(PROGS),$(eval $(call PROG,$(p))))

$(UNIT): $(B)/tests/%: $(B)/obj/tests/unit/%.o $(COMMON) $(B)/lib/libdlog.a
	@mkdir -p $(@D)
	@echo "  LD      $@"
	$(Q)$(CC) $(SAN) -o $@ $^ $(LDFLAGS) $(LDLIBS_LIB) -lcmocka -lpthread $(LDLIBS_COMMON)

$(STRESS): $(B)/tests/stress/%: $(B)/obj/tests/stress/%.o $(B)/lib/libdlog.a
	@mkdir -p $(@D)
	@echo "  LD      $@"
	$(Q)$(CC) $(SAN) -o $@ $^ $(LDFLAGS) $(LDLIBS_LIB) -lpthread

# dlog-hv's core with the machine played by the test.
HV_CORE_OBJ := $(patsubst %,$(B)/obj/hypervisor/core/%.o,region log memmap options death)
$(B)/tests/test_hypervisor: $(HV_CORE_OBJ) \
	$(patsubst %.c,$(B)/obj/%.o,$(wildcard guest-patch/baremetal/*.c))
$(B)/obj/tests/unit/test_hypervisor.o $(HV_CORE_OBJ): CPPFLAGS += -Ihypervisor/core \
	-Iguest-patch/baremetal

# Parts of dlogd with the rest of it played by tests/monitor/stand.c.
$(B)/tests/monitor/test_incident: $(patsubst %.c,$(B)/obj/%.o,$(wildcard host-tools/monitor/incident/*.c) \
		tests/monitor/test_incident.c tests/monitor/stand.c) $(COMMON) $(B)/lib/libdlog.a
	@mkdir -p $(@D)
	@echo "  LD      $@"
	$(Q)$(CC) $(SAN) -o $@ $^ $(LDFLAGS) $(LDLIBS_LIB) -lcmocka -ljansson -lpthread $(LDLIBS_COMMON)

tools: $(B)/tests/monitor/test_incident

# ---- the QEMU plugin: what it needs of QEMU it finds when it is loaded ----

PLUGIN_OBJ := $(patsubst %.c,$(B)/obj/%.o,$(wildcard qemu-plugin/*.c qemu-plugin/*/*.c))
$(PLUGIN_OBJ): CPPFLAGS += -Iqemu-plugin

$(PLUGIN): $(PLUGIN_OBJ)
	@mkdir -p $(@D)
	@echo "  LD      $@"
	$(Q)$(CC) $(SAN) -shared -Wl,-z,defs -o $@ $^ $(LDFLAGS) -lelf -lpthread

plugin: $(PLUGIN)

# ---- test programs ----

# The same unit tests with the sanitizers, by clang and in 32 bit.
SAN_FLAGS := -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
$(B)/tests/mkregion: $(B)/obj/tests/tools/mkregion.o $(B)/lib/libdlog.a
	@mkdir -p $(@D)
	$(Q)$(CC) $(SAN) -o $@ $^ $(LDFLAGS) $(LDLIBS_LIB)

# It looks at what the library keeps to itself.
$(B)/tests/ramquery: $(B)/obj/tests/tools/ramquery.o $(B)/obj/host-tools/core/tasks.o \
		$(COMMON) $(B)/lib/libdlog.a
	@mkdir -p $(@D)
	$(Q)$(CC) $(SAN) -o $@ $^ $(LDFLAGS) $(LDLIBS_LIB) $(LDLIBS_COMMON)

# The plugin's reading of symbols, without QEMU.
$(B)/obj/tests/tools/symload.o: CPPFLAGS += -Iqemu-plugin
$(B)/tests/symload: $(B)/obj/tests/tools/symload.o $(addprefix \
		$(B)/obj/qemu-plugin/symbols/,file.o text.o elf.o table.o slide.o names.o)
	@mkdir -p $(@D)
	$(Q)$(CC) $(SAN) -o $@ $^ $(LDFLAGS) -lelf

$(B)/tests/simguests: $(B)/obj/tests/tools/simguests.o $(B)/lib/libdlog.a
	@mkdir -p $(@D)
	$(Q)$(CC) $(SAN) -o $@ $^ $(LDFLAGS) $(LDLIBS_LIB) -ljansson

# For guests, whatever libraries those have.
$(B)/tests/dlogioc: $(B)/obj/tests/tools/dlogioc.o
	@mkdir -p $(@D)
	$(Q)$(CC) $(SAN) $(if $(SAN),,-static) -o $@ $^ $(LDFLAGS)

$(B)/tests/probed: $(B)/obj/tests/tools/probed.o
	@mkdir -p $(@D)
	$(Q)$(CC) $(SAN) $(if $(SAN),,-static) -o $@ $^ $(LDFLAGS)

$(B)/tests/accesses: $(B)/obj/tests/tools/accesses.o
	@mkdir -p $(@D)
	$(Q)$(CC) $(SAN) $(if $(SAN),,-static) -o $@ $^ $(LDFLAGS) -lpthread

$(B)/tests/zoo: $(B)/obj/tests/tools/zoo.o
	@mkdir -p $(@D)
	$(Q)$(CC) $(SAN) $(if $(SAN),,-static) -o $@ $^ $(LDFLAGS) -lpthread

# The client for any kernel, written to here and read by libdlog.
CLIENT_OBJ := $(patsubst %.c,$(B)/obj/%.o,$(wildcard guest-patch/baremetal/*.c))
$(B)/tests/test_baremetal: $(CLIENT_OBJ)
$(B)/obj/tests/unit/test_baremetal.o $(CLIENT_OBJ): CPPFLAGS += -Iguest-patch/baremetal

$(B)/tests/bareclient.m32: tests/tools/bareclient.c $(wildcard guest-patch/baremetal/*.[ch] shared-abi/*.h)
	@mkdir -p $(@D)
	$(Q)gcc -m32 -O2 $(WARN) -std=gnu11 -D_FILE_OFFSET_BITS=64 -Ishared-abi \
		-Iguest-patch/baremetal -o $@ $(filter %.c,$^)

$(B)/obj/tests/tools/dlogioc.o: CPPFLAGS += -Iguest-patch/linux/include/uapi

$(B)/tests/mutate: $(B)/obj/tests/fuzz/mutate.o $(B)/lib/libdlog.a
	@mkdir -p $(@D)
	$(Q)$(CC) $(SAN) -o $@ $^ $(LDFLAGS) $(LDLIBS_LIB)

$(B)/tests/mutate_stock: $(B)/obj/tests/tools/mutate_stock.o $(B)/lib/libdlog.a
	@mkdir -p $(@D)
	$(Q)$(CC) $(SAN) -o $@ $^ $(LDFLAGS) $(LDLIBS_LIB)

$(B)/tests/mutate_ram: $(B)/obj/tests/tools/mutate_ram.o $(B)/lib/libdlog.a
	@mkdir -p $(@D)
	$(Q)$(CC) $(SAN) -o $@ $^ $(LDFLAGS) $(LDLIBS_LIB)

$(B)/tests/mutate_probe: $(B)/obj/tests/fuzz/fuzz_probe.o \
		$(patsubst %,$(B)/obj/qemu-plugin/probe/%.o,parse expr guest hit)
	@mkdir -p $(@D)
	$(Q)$(CC) $(SAN) -o $@ $^ $(LDFLAGS)

$(B)/obj/tests/fuzz/fuzz_probe.o: CPPFLAGS += -Iqemu-plugin -DMUTATE

$(B)/tests/mkvectors: $(B)/obj/tests/vectors/mkvectors.o
	@mkdir -p $(@D)
	$(Q)$(CC) $(SAN) -o $@ $^ $(LDFLAGS)

# The writer in 32 bit, and by the other compiler, must write the same bytes.
$(B)/tests/mkvectors.m32: tests/vectors/mkvectors.c $(wildcard shared-abi/*.h)
	@mkdir -p $(@D)
	$(Q)gcc -m32 -O2 $(WARN) -std=gnu11 -Ishared-abi -o $@ $<

$(B)/tests/mkvectors.clang: tests/vectors/mkvectors.c $(wildcard shared-abi/*.h)
	@mkdir -p $(@D)
	$(Q)clang -O3 -march=native $(WARN) -std=gnu11 -Ishared-abi -o $@ $<

tools: $(UNIT) $(STRESS) $(B)/tests/mkregion $(B)/tests/simguests \
	$(B)/tests/mutate $(B)/tests/mutate_probe $(B)/tests/mutate_ram $(B)/tests/mutate_stock \
	$(B)/tests/mkvectors $(B)/tests/dlogioc $(B)/tests/probed \
	$(B)/tests/ramquery $(B)/tests/symload $(B)/tests/zoo $(B)/tests/accesses

asan:
	$(Q)$(MAKE) --no-print-directory B=$(B)/asan SAN="$(SAN_FLAGS)" CFLAGS="-O1 -g" host tools
	$(Q)mkdir -p $(B)/tests
	$(Q)for t in $(notdir $(UNIT)) mutate mutate_probe; do ln -sf ../asan/tests/$$t $(B)/tests/$$t.asan; done

clang:
	$(Q)$(MAKE) --no-print-directory B=$(B)/clang CC=clang host tools hypervisor
	$(Q)mkdir -p $(B)/tests
	$(Q)for t in $(notdir $(UNIT)); do ln -sf ../clang/tests/$$t $(B)/tests/$$t.clang; done

# ThreadSanitizer sees threads, not signals nor other processes: writers only.
tsan:
	$(Q)$(MAKE) --no-print-directory B=$(B)/tsan SAN=-fsanitize=thread $(B)/tsan/tests/stress/writers
	$(Q)mkdir -p $(B)/tests/stress
	$(Q)ln -sf ../../tsan/tests/stress/writers $(B)/tests/stress/writers.tsan

# shared-abi compiles everywhere a producer lives.
FREESTANDING := -std=gnu11 -ffreestanding -nostdlib -Wall -Wextra -Wshadow -Werror -O2 -Ishared-abi
freestanding:
	@mkdir -p $(B)/obj
	$(Q)for cc in "gcc" "gcc -m32 -march=i686 -mno-sse -mno-80387" "clang" "clang -m32 -march=i686"; do \
		echo "  CC      shared-abi ($$cc, freestanding)"; \
		$$cc $(FREESTANDING) -c -o $(B)/obj/freestanding.o tests/tools/freestanding.c || exit 1; \
		echo "  CC      guest-patch/baremetal ($$cc, freestanding)"; \
		$$cc $(FREESTANDING) -Iguest-patch/baremetal -fno-pic -r \
			-o $(B)/obj/client.o guest-patch/baremetal/*.c || exit 1; \
		! nm -u $(B)/obj/client.o | grep -vE ' (memcpy|memset|memcmp)$$' || exit 1; \
	done

# The test vectors in the tree, made anew; the tests compare them.
vectors: $(B)/tests/mkvectors
	$(Q)rm -rf $(B)/vectors && mkdir -p $(B)/vectors
	$(Q)$(B)/tests/mkvectors $(B)/vectors
	$(Q)for f in $(B)/vectors/*; do \
		gzip -9nc $$f > tests/vectors/$${f##*/}.gz; done

# ---- dlogctl, for guests; static, it needs nothing of the guest's ----

CTL_SRC := $(wildcard guest-patch/dlogctl/*.c) \
	$(addprefix host-tools/common/,cli.c json.c sink.c)
CTL_DEP := $(CTL_SRC) $(wildcard guest-patch/dlogctl/*.h) \
	$(addprefix host-tools/common/,cli.h json.h sink.h) \
	host-tools/lib/dlog.h guest-patch/linux/include/uapi/linux/dlog.h
CTL_FLAGS := -Os -g -ffunction-sections -fdata-sections

dlogctl: $(B)/bin/dlogctl $(B)/bin/dlogctl-static

dlogctl-static: $(B)/bin/dlogctl-static

$(B)/bin/dlogctl $(B)/bin/dlogctl-static: $(CTL_DEP)
	@mkdir -p $(@D)
	@echo "  LD      $@"
	$(Q)$(CC) $(CPPFLAGS) -Iguest-patch/linux/include/uapi -std=gnu11 \
		$(WARN) $(SAN) $(CTL_FLAGS) -Wl,--gc-sections \
		$(if $(findstring static,$@),-static -s) -o $@ $(CTL_SRC) \
		$(LDFLAGS)

# ---- dlog-hv, and a CD of it for BIOS and UEFI; see docs/hypervisor.md ----

HV_SRC := $(wildcard hypervisor/core/*.c hypervisor/arch/x86/*.[cS] \
	hypervisor/arch/x86/svm/*.[cS])
HV_CLIENT := $(wildcard guest-patch/baremetal/*.c guest-patch/baremetal/x86/*.c)
HV_OBJ := $(patsubst hypervisor/%,$(B)/hypervisor/obj/%.o,$(HV_SRC)) \
	$(HV_CLIENT:%=$(B)/hypervisor/obj/%.o)
HV_FLAGS := -std=gnu11 $(WARN) -O2 -g -ffreestanding -fno-pic -fno-pie \
	-fno-stack-protector -fno-asynchronous-unwind-tables -mno-red-zone \
	-mgeneral-regs-only -fno-strict-aliasing -fcf-protection=none \
	-Ishared-abi -Iguest-patch/baremetal -Ihypervisor/core \
	-Ihypervisor/arch/x86 -MMD -MP \
	-DDLOG_VERSION='"$(VERSION)"'

hypervisor: $(B)/hypervisor/dlog-hv $(B)/hypervisor/payload

# A CD that starts HV_KERNEL, with HV_INITRD if there is one, on it.
comma := ,
HV_OPTIONS ?= show=previous
HV_KERNEL ?= $(B)/baremetal/demo.elf
HV_APPEND ?= $(if $(filter %/demo.elf,$(HV_KERNEL)),lines=20 die=triple$(comma)hlt,console=ttyS0)
hypervisor-iso: hypervisor baremetal
	$(Q)cd tests/scenarios && python3 -B -c "import sys; from lib import iso; \
		iso.make_iso(sys.argv[1] + '.iso', sys.argv[1], sys.argv[2], \
		[(sys.argv[3], sys.argv[4])] + [(f, '') for f in sys.argv[5:]])" \
		$(abspath $(B))/hypervisor/dlog-hv "$(HV_OPTIONS)" \
		$(abspath $(HV_KERNEL)) "$(HV_APPEND)" $(abspath $(HV_INITRD))
	@echo "  ISO     $(B)/hypervisor/dlog-hv.iso"

$(B)/hypervisor/obj/guest-patch/%.o: guest-patch/%
	@mkdir -p $(@D)
	@echo "  CC      $< (dlog-hv)"
	$(Q)$(CC) $(HV_FLAGS) -c -o $@ $<

$(B)/hypervisor/obj/%.o: hypervisor/%
	@mkdir -p $(@D)
	@echo "  CC      $<"
	$(Q)$(CC) $(HV_FLAGS) -c -o $@ $<

$(B)/hypervisor/dlog-hv: $(HV_OBJ) hypervisor/arch/x86/hv.lds
	@echo "  LD      $@"
	$(Q)ld -nostdlib -static -no-pie -z max-page-size=4096 -z noexecstack \
		--no-warn-rwx-segments -T hypervisor/arch/x86/hv.lds -o $@.full $(HV_OBJ)
	$(Q)objcopy --strip-all $@.full $@

# What the tests run on it.
$(B)/hypervisor/payload: $(wildcard tests/scenarios/payload/*)
	@mkdir -p $(@D)
	@echo "  LD      $@"
	$(Q)$(CC) -m32 -std=gnu11 $(WARN) -O2 -ffreestanding -nostdlib -static \
		-fno-pic -fno-stack-protector -mgeneral-regs-only \
		-Wl,-T,tests/scenarios/payload/payload.lds,--build-id=none,--no-warn-rwx-segments \
		-o $@ $(filter %.c %.S,$^)

# ---- a kernel of our own, that logs and dies: docs/baremetal.md ----

DEMO_FLAGS := -std=gnu11 -O2 -g -m64 -ffreestanding -fno-builtin -fno-pie \
	-fno-stack-protector -mno-red-zone -mgeneral-regs-only -Ishared-abi \
	-Iguest-patch/baremetal $(WARN)

baremetal: $(B)/baremetal/demo.elf

$(B)/baremetal/demo.elf: $(wildcard guest-patch/baremetal/*.[ch] \
		guest-patch/baremetal/x86/*.[ch] \
		guest-patch/baremetal/demo/* shared-abi/*.h)
	@mkdir -p $(@D)
	@echo "  LD      $@"
	$(Q)$(CC) $(DEMO_FLAGS) -static -nostdlib -Wl,--build-id=none \
		-Wl,-z,max-page-size=4096,-z,noexecstack \
		-Wl,-T,guest-patch/baremetal/demo/link.ld \
		-o $@ $(filter %.c %.S,$^)

# DEMO: its command line.
DEMO ?= dlog.mem=4M@0x8000000 die=triple,hlt
baremetal-iso: $(B)/baremetal/demo.elf
	$(Q)cd tests/scenarios && python3 -B -m lib.iso $(abspath $(B))/baremetal/demo.iso \
		$(abspath $(B))/baremetal/demo.elf $(DEMO)

# ---- modules, for each kernel whose headers are there ----

KERNELS ?= 6.1 $(if $(wildcard $(or $(DLOG_CACHE),$(or $(XDG_CACHE_HOME),$(HOME)/.cache)/dlog)/6.12/kdir),6.12)
GUEST_SRC := $(wildcard guest-patch/linux/*.[ch] guest-patch/linux/Kbuild \
	guest-patch/linux/include/linux/*.h \
	guest-patch/linux/include/uapi/linux/*.h shared-abi/*.h \
	tests/scenarios/module/*)

guest: $(KERNELS:%=$(B)/guest/%/dlog.ko)

$(B)/guest/%/dlog.ko: $(GUEST_SRC)
	@echo "  MODULE  $@"
	$(Q)rm -rf $(B)/guest/$*/src && mkdir -p $(B)/guest/$*/src
	$(Q)cp -r guest-patch/linux/. shared-abi $(B)/guest/$*/src/
	$(Q)cp -r tests/scenarios/module $(B)/guest/$*/src/test
	$(Q)kdir=$$(tests/guest/mkguest info $* kdir) && cd $(B)/guest/$*/src && \
	$(MAKE) -s -C $$kdir M=$$PWD W=$(W) KCFLAGS=-Werror modules >$$PWD/log 2>&1 && \
	$(MAKE) -s -C $$kdir M=$$PWD/test DLOG_INCLUDE=$$PWD/include \
		KBUILD_EXTRA_SYMBOLS=$$PWD/Module.symvers KCFLAGS=-Werror modules >>$$PWD/log 2>&1 \
		|| { cat log; exit 1; }
	$(Q)cp $(B)/guest/$*/src/test/dlog*.ko $(B)/guest/$*/src/dlog.ko $(B)/guest/$*/

# ---- set-up, demo, tests ----

setup:
	$(Q)tests/guest/setup build guest

setup-all:
	$(Q)tests/guest/setup test

demo: setup
	$(Q)$(MAKE) --no-print-directory all
	$(Q)tests/guest/demo

built: setup-all
	$(Q)$(MAKE) --no-print-directory all tools
	$(Q)$(MAKE) --no-print-directory asan clang tsan freestanding \
		$(B)/tests/mkvectors.m32 $(B)/tests/mkvectors.clang \
		$(B)/tests/bareclient.m32

# CI's machines are shared: what failed there runs once more, alone, and is told.
check: built
	$(Q)$(MAKE) --no-print-directory lint
	$(Q)tests/run $(if $(CI),--again)

check-long: built
	$(Q)tests/run --long

scenarios: setup-all
	$(Q)$(MAKE) --no-print-directory all
	$(Q)tests/run 'scenarios/*'

scenarios-long: setup-all
	$(Q)$(MAKE) --no-print-directory all
	$(Q)tests/run --long 'scenarios/*'

bench:
	$(Q)tests/guest/setup build guest bench
	$(Q)$(MAKE) --no-print-directory all $(B)/tests/simguests
	$(Q)DLOG_BUILD=$(abspath $(B)) tests/bench/run $(BENCH_ARGS)

C_FILES := $(shell git ls-files '*.c' '*.h' 2>/dev/null)
lint:
	$(Q)clang-format --dry-run -Werror $(C_FILES) && echo "  LINT    clang-format clean"

# ---- install ----

DATADIR := $(DESTDIR)$(PREFIX)/share
SYSTEMD ?= $(PREFIX)/lib/systemd
UDEV ?= $(PREFIX)/lib/udev
SYSUSERS ?= $(PREFIX)/lib/sysusers.d
DKMS := $(DESTDIR)/usr/src/dlog-$(VERSION)

install: host dlogctl hypervisor
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/lib/pkgconfig \
		$(DESTDIR)$(PREFIX)/include/dlog \
		$(DATADIR)/man/man1 $(DATADIR)/man/man5 \
		$(DATADIR)/man/man7 $(DATADIR)/man/man8 \
		$(DATADIR)/bash-completion/completions
	install -m 755 $(BINS) $(B)/bin/dlogctl $(B)/bin/dlogctl-static \
		$(DESTDIR)$(PREFIX)/bin
	install -m 644 $(B)/lib/libdlog.a $(DESTDIR)$(PREFIX)/lib
	install -m 755 $(B)/lib/libdlog.so.$(VERSION) $(DESTDIR)$(PREFIX)/lib
	ln -sf libdlog.so.$(VERSION) $(DESTDIR)$(PREFIX)/lib/libdlog.so.$(SOVERSION)
	ln -sf libdlog.so.$(VERSION) $(DESTDIR)$(PREFIX)/lib/libdlog.so
	install -d $(DESTDIR)$(PREFIX)/lib/dlog
	install -m 755 $(PLUGIN) $(DESTDIR)$(PREFIX)/lib/dlog
	install -m 644 $(B)/hypervisor/dlog-hv $(DESTDIR)$(PREFIX)/lib/dlog
	install -m 644 $(B)/lib/dlog.pc $(DESTDIR)$(PREFIX)/lib/pkgconfig
	install -m 644 host-tools/lib/dlog.h shared-abi/*.h $(DESTDIR)$(PREFIX)/include/dlog
	install -m 644 docs/man/*.1 $(DATADIR)/man/man1
	install -m 644 docs/man/*.5 $(DATADIR)/man/man5
	install -m 644 docs/man/*.7 $(DATADIR)/man/man7
	install -m 644 docs/man/*.8 $(DATADIR)/man/man8
	install -d $(DESTDIR)$(SYSTEMD)/system $(DESTDIR)$(SYSUSERS) $(DATADIR)/dlog
	sed 's|@PREFIX@|$(PREFIX)|' host-tools/monitor/systemd/dlogd.service.in \
		> $(DESTDIR)$(SYSTEMD)/system/dlogd.service
	install -m 644 host-tools/monitor/systemd/dlog.sysusers $(DESTDIR)$(SYSUSERS)/dlog.conf
	install -m 644 host-tools/monitor/dlogd.conf $(DATADIR)/dlog/dlogd.conf.example
	install -m 644 host-tools/completion/dlog $(DATADIR)/bash-completion/completions/dlog-read
	ln -sf dlog-read $(DATADIR)/bash-completion/completions/dlog-create
	ln -sf dlog-read $(DATADIR)/bash-completion/completions/dlog-core
	install -m 644 $(addprefix host-tools/completion/,dlog-qemu dlog-virt dlogd \
		dlogctl) $(DATADIR)/bash-completion/completions
	install -d $(DESTDIR)$(UDEV)/rules.d
	install -m 644 guest-patch/dlogctl/boot/60-dlog.rules $(DESTDIR)$(UDEV)/rules.d
	sed 's|@PREFIX@|$(PREFIX)|' guest-patch/dlogctl/boot/dlog-boot.service.in \
		> $(DESTDIR)$(SYSTEMD)/system/dlog-boot.service
	install -m 644 guest-patch/dlogctl/boot/boot.example $(DATADIR)/dlog/boot.example
	install -d $(DATADIR)/dlog $(DATADIR)/dlog/recipes
	install -m 644 qemu-plugin/recipes/*.probes $(DATADIR)/dlog/recipes
	install -m 644 host-tools/gdb/*.py $(DATADIR)/dlog
	install -d $(DATADIR)/dlog/wrap/make
	install -m 755 guest-patch/wrap/dlog-wrap guest-patch/wrap/dlog-make \
		$(DATADIR)/dlog/wrap
	install -m 644 $(addprefix guest-patch/wrap/,rules wrap.mk runtime.h \
		runtime.c) $(DATADIR)/dlog/wrap
	install -m 644 guest-patch/wrap/make/Kbuild $(DATADIR)/dlog/wrap/make
	for p in dlog-wrap dlog-make; do \
		ln -sf ../share/dlog/wrap/$$p $(DESTDIR)$(PREFIX)/bin/$$p; done
	install -d $(DKMS)/include/linux $(DKMS)/include/uapi/linux $(DKMS)/shared-abi
	install -m 644 guest-patch/linux/*.[ch] guest-patch/linux/Kbuild \
		guest-patch/linux/Makefile guest-patch/linux/dkms.conf $(DKMS)
	install -m 644 guest-patch/linux/include/linux/*.h $(DKMS)/include/linux
	install -m 644 guest-patch/linux/include/uapi/linux/*.h $(DKMS)/include/uapi/linux
	install -m 644 shared-abi/*.h $(DKMS)/shared-abi

help:
	@echo "make              programs, library and modules, into build/"
	@echo "make dlogctl      dlogctl and dlogctl-static, for guests"
	@echo "make hypervisor   dlog-hv; hypervisor-iso HV_KERNEL=... HV_INITRD=...: a CD"
	@echo "make baremetal    a small kernel that logs and dies (docs/baremetal.md)"
	@echo "make demo         set up, crash a real guest, read its last words"
	@echo "make check        set up, build everything, run the tests"
	@echo "make check-long   the same with the long campaigns"
	@echo "make scenarios    only the tests with real guests (scenarios-long: all)"
	@echo "make bench        measure, print the table, write build/bench.json"
	@echo "make install      to PREFIX ($(PREFIX)), DESTDIR honoured"
	@echo "make setup        only fetch what building and guests need"
	@echo "make vectors      write tests/vectors anew (format changes only)"
	@echo "make clean        remove build/"
	@echo "V=1 shows commands; CC, CFLAGS, KERNELS=\"6.1 6.12\" as usual"

.PHONY: tools asan clang tsan freestanding guest built setup-all

-include $(shell find $(B)/obj $(B)/hypervisor/obj -name '*.d' 2>/dev/null)

clean:
	$(Q)rm -rf $(B)
