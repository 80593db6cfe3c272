/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * stand.h - the rest of dlogd, as far as incidents need it, for their tests:
 * a loop, guests with a region in a file, VMMs that do as the test says, and
 * a note of what was told.
 */
#ifndef TESTS_MONITOR_STAND_H
#define TESTS_MONITOR_STAND_H

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "monitor/monitor.h"
#include "../unit/world.h"

struct stand {
	struct monitor m;
	struct world w;
	char dir[64], bundles[96], region[96];
};

/* A VMM whose guest is a world; calls are noted in order, one letter each. */
struct fake_vm {
	struct vm vm;
	struct world *w;
	int fail; /* all calls: 0 or -errno */
	int slow_ms; /* before they answer */
	uint32_t silent; /* bit: that CPU does not answer the NMI */
	uint64_t memory;
	int cont_fails; /* so often */
	char calls[64];
	pthread_t answer;
	bool answering;
};

extern char stand_log[65536]; /* what was logged */
extern int stand_fsyncs; /* calls so far */
extern int stand_fsync_bad; /* that one fails, -1: none */
extern struct told {
	uint32_t count;
	bool complete;
	char *bundle, *error;
} stand_told;

void stand_open(struct stand *s);
void stand_close(struct stand *s);
/* The region: @size bytes, @cpus rings and CPUs, one boot, all online. */
void stand_region(struct stand *s, uint64_t size, uint32_t cpus);
struct guest *stand_guest(struct stand *s, const char *name, struct vm *vm);
struct fake_vm *stand_vm(struct stand *s);
/* Let the loop run until every incident is finished; its duration in ms. */
uint64_t stand_run(struct stand *s);
uint32_t stand_count(struct stand *s, bool complete);
/* Run @cmd (printf) in a shell: what it prints, to be free()d. */
__attribute__((format(printf, 1, 2))) char *stand_shell(const char *fmt, ...);
/* incident.json of the newest incident. */
json_t *stand_json(struct stand *s);
const char *json_at(json_t *v, const char *key, const char *sub);
/* "result" of @action, and whether "missing" has a line that begins so. */
const char *json_result(json_t *v, const char *action);
bool json_misses(json_t *v, const char *what);
uint64_t stand_ms(void);

#endif
