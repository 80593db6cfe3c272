# SPDX-License-Identifier: GPL-2.0-only
#
# wrap.mk - build a module with wrappers of the kernel functions it calls.
#
# Included at the end of a module's Makefile or Kbuild, or by dlog-make; does
# nothing without DLOG_WRAP=1.  DLOG_WRAP_RULES names rule files of one's own.
#
# For each module NAME of obj-m: NAME_dlog.c is one more object of it, written
# from its other objects, and NAME_dlog.ld the linker's options that redirect
# their calls.  A module of one file NAME.c would have NAME.o both as a part
# and as the whole, so the part is called NAME_dlog0.o.
#
# Relies on kbuild's foo-y, CFLAGS_foo.o, LDFLAGS_foo.o, on its rule cc_o_c,
# and on GNU ld: -r with --wrap and @FILE.

# Once, also where dlog-make builds a module whose Makefile includes this.
ifndef dlog-wrap-dir
dlog-wrap-dir := $(patsubst %/,%,$(dir $(lastword $(MAKEFILE_LIST))))
dlog-modules := $(patsubst %.o,%,$(filter %.o,$(obj-m)))
clean-files += $(foreach m,$(dlog-modules),$(m)_dlog.c $(m)_dlog.ld)

ifeq ($(DLOG_WRAP),1)

$(if $(filter-out /%,$(DLOG_WRAP_RULES)),$(error DLOG_WRAP_RULES: \
	'$(DLOG_WRAP_RULES)': files need their whole path, without blanks))

# Init and exit get something around them; a jump in place of a call would
# name the wrong caller.
ccflags-y += -Dinit_module=dlog_init_module -Dcleanup_module=dlog_exit_module \
	-fno-optimize-sibling-calls

dlog-parts = $(strip $($(1)-objs) $($(1)-y) $($(1)-m))
dlog-single := $(strip $(foreach m,$(dlog-modules),$(if $(call dlog-parts,$(m)),, \
	$(if $(wildcard $(src)/$(m).c),$(m)))))
dlog-plain := $(strip $(foreach m,$(dlog-modules),$(if $(call dlog-parts,$(m)),, \
	$(if $(wildcard $(src)/$(m).c),,$(m)))))
dlog-wrapped := $(filter-out $(dlog-plain),$(dlog-modules))
$(if $(dlog-plain),$(warning dlog-wrap: not made of C, left alone: $(dlog-plain)))

define dlog-one-file
$(1)-y := $(1)_dlog0.o
$(foreach v,CFLAGS CFLAGS_REMOVE OBJECT_FILES_NON_STANDARD,
$(v)_$(1)_dlog0.o := $($(v)_$(1).o))
$(obj)/$(1)_dlog0.o: $(src)/$(1).c FORCE
	$$(call if_changed_rule,cc_o_c)
endef
$(foreach m,$(dlog-single),$(eval $(call dlog-one-file,$(m))))

quiet_cmd_dlog_wrap = WRAP    $@
      cmd_dlog_wrap = $(dlog-wrap-dir)/dlog-wrap --nm $(NM) \
	--kernel $(KERNELVERSION) --config $(objtree)/include/config/auto.conf \
	$(addprefix --rules ,$(DLOG_WRAP_RULES)) \
	--source $@ --link $(@:.c=.ld) $(filter %.o,$(real-prereqs))

define dlog-module
$(obj)/$(1)_dlog.c: $(addprefix $(obj)/,$(call dlog-parts,$(1))) \
		$(addprefix $(dlog-wrap-dir)/,dlog-wrap rules) \
		$(DLOG_WRAP_RULES) FORCE
	$$(call if_changed,dlog_wrap)
$(obj)/$(1)_dlog.o: $(addprefix $(dlog-wrap-dir)/,runtime.h runtime.c)
$(1)-y += $(1)_dlog.o
CFLAGS_$(1)_dlog.o := -I$(dlog-wrap-dir)
LDFLAGS_$(notdir $(1)).o += @$(obj)/$(1)_dlog.ld
targets += $(1)_dlog.c
endef
$(foreach m,$(dlog-wrapped),$(eval $(call dlog-module,$(m))))

endif
endif
