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
KDIR ?= $(firstword $(wildcard /lib/modules/$(shell uname -r)/build) \
	$(lastword $(sort $(wildcard /usr/src/linux-headers-*-amd64))))

WARN := -Wall -Wextra -Wshadow -Wstrict-prototypes -Werror
SAN ?=
CPPFLAGS += -D_GNU_SOURCE -D_FILE_OFFSET_BITS=64 -DDLOG_VERSION='"$(VERSION)"' \
	-Ishared-abi -Ihost-tools/lib
CFLAGS ?= -O2 -g
ALL_CFLAGS = -std=gnu11 -fvisibility=hidden -fPIC $(WARN) $(SAN) $(CFLAGS) -MMD -MP

# ---- host programs: one folder of host-tools each ----

PROGS := create read qemu
BINS := $(PROGS:%=$(B)/bin/dlog-%)
LIB_OBJ := $(patsubst %.c,$(B)/obj/%.o,$(wildcard host-tools/lib/*.c))
LIBS := $(B)/lib/libdlog.a $(B)/lib/libdlog.so.$(VERSION)
UNIT := $(patsubst tests/unit/%.c,$(B)/tests/%,$(wildcard tests/unit/*.c))
LDLIBS_read := -ljansson
LDLIBS_qemu := -ljansson

.PHONY: all host guest check check-long demo bench scenarios scenarios-long \
	install uninstall clean help setup setup-guest lint vectors

all: host guest

host: $(BINS) $(LIBS) $(B)/lib/dlog.pc

$(B)/obj/%.o: %.c
	@mkdir -p $(@D)
	@echo "  CC      $<"
	$(Q)$(CC) $(CPPFLAGS) $(ALL_CFLAGS) -c -o $@ $<

$(B)/lib/libdlog.a: $(LIB_OBJ)
	@mkdir -p $(@D)
	@echo "  AR      $@"
	$(Q)rm -f $@ && $(AR) rcs $@ $^

$(B)/lib/libdlog.so.$(VERSION): $(LIB_OBJ) host-tools/lib/libdlog.map
	@mkdir -p $(@D)
	@echo "  LD      $@"
	$(Q)$(CC) $(SAN) -shared -Wl,-soname,libdlog.so.$(SOVERSION) \
		-Wl,--version-script=host-tools/lib/libdlog.map \
		-o $@ $(LIB_OBJ) $(LDFLAGS)
	$(Q)ln -sf $(@F) $(B)/lib/libdlog.so.$(SOVERSION)
	$(Q)ln -sf $(@F) $(B)/lib/libdlog.so

$(B)/lib/dlog.pc: host-tools/lib/dlog.pc.in Makefile
	@mkdir -p $(@D)
	$(Q)sed -e 's|@PREFIX@|$(PREFIX)|; s|@VERSION@|$(VERSION)|' $< > $@

.SECONDEXPANSION:
$(BINS): $(B)/bin/dlog-%: $$(patsubst %.c,$(B)/obj/%.o,$$(wildcard host-tools/$$*/*.c)) $(B)/lib/libdlog.a
	@mkdir -p $(@D)
	@echo "  LD      $@"
	$(Q)$(CC) $(SAN) -o $@ $(filter %.o,$^) $(B)/lib/libdlog.a $(LDFLAGS) $(LDLIBS_$*)

$(UNIT): $(B)/tests/%: $(B)/obj/tests/unit/%.o $(B)/lib/libdlog.a
	@mkdir -p $(@D)
	@echo "  LD      $@"
	$(Q)$(CC) $(SAN) -o $@ $^ $(LDFLAGS) -lcmocka -lpthread

-include $(shell find $(B)/obj -name '*.d' 2>/dev/null)

clean:
	$(Q)rm -rf $(B)
