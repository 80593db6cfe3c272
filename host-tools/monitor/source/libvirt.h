/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * libvirt.h - what the two halves of the libvirt source share: libvirt.c hears
 * of domains, libvirt_vm.c asks them.
 */
#ifndef DLOG_SOURCE_LIBVIRT_H
#define DLOG_SOURCE_LIBVIRT_H

#include <libvirt/libvirt.h>

#include "../monitor.h"

/*
 * A handle on the running domain @dom of the driver at @uri: its one
 * reference, or NULL.  It makes connections of its own; they need the event
 * loop that libvirt.c runs.
 */
struct vm *libvirt_vm(virDomainPtr dom, const char *uri);

/* A connection that notices a libvirtd that hangs. */
virConnectPtr libvirt_open(const char *uri);

#endif
