/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * region.h - the region file before QEMU gets it.
 *
 * Functions return 0 or a negative errno with a message in *err.
 */
#ifndef DLOG_QEMU_REGION_H
#define DLOG_QEMU_REGION_H

#include "qemu.h"

struct region {
	char *path; /* absolute; the caller frees it */
	bool exists;
	uint64_t size; /* of the region, bytes */
	bool backup; /* its first superblock is damaged */
};

/* Sets path and exists.  What exists is a regular file. */
int region_find(struct region *r, const char *name, struct dlog_error *err);
/* Is it a valid region, of @size bytes unless 0?  Sets size and backup. */
int region_check(struct region *r, uint64_t size, struct dlog_error *err);
/* Rings for a guest with @cpus CPUs in a region of @size bytes. */
uint32_t region_rings(uint64_t size, uint32_t cpus);
/* Create it, r->size bytes, for a guest with @cpus CPUs, later @maxcpus. */
int region_create(struct region *r, uint32_t cpus, uint32_t maxcpus,
		  struct dlog_error *err);
/*
 * The same for a file that a stock kernel writes (--stock): no region, of
 * @size bytes unless 0, and nothing in it but what that kernel leaves.
 */
int plain_check(struct region *r, uint64_t size, const char *format,
		struct dlog_error *err);
int plain_create(struct region *r, struct dlog_error *err);
/* Lock it until this process, QEMU by then, and its children have ended. */
int region_lock(const struct region *r, struct dlog_error *err);

/* The absolute path of a socket to be; the caller frees *out. */
int socket_path(char **out, const char *path, struct dlog_error *err);
/* May QEMU put its socket there? */
int socket_check(const char *path, struct dlog_error *err);

#endif
