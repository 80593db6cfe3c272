/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * cli.h - what the programs say in the same words.
 *
 * Linked into each of them.  Relies on stdio and on libdlog's errors.
 */
#ifndef DLOG_CLI_H
#define DLOG_CLI_H

#include <stdbool.h>
#include <stdint.h>

#include "dlog.h"

/*
 * "PROGRAM: 'ARG' is no WHAT: HELP" on stderr, for an option's argument that
 * cannot be understood.  Returns -EINVAL.
 */
int cli_wrong(const char *program, const char *what, const char *arg,
	      const char *help);

/*
 * "64M" in bytes: a number alone or with K, M, G or T, powers of 1024, "iB" may
 * follow.  -EINVAL after a message.
 */
int cli_parse_size(const char *program, const char *text, uint64_t *size);

/* Is @text the number of a port, 0 to 65535?  (getaddrinfo() takes any.) */
bool cli_is_port(const char *text);

/* Put a message into @err and return @code, a negative errno. */
__attribute__((format(printf, 3, 4))) int fail(struct dlog_error *err, int code,
					       const char *fmt, ...);

struct cli_size {
	char s[32];
};

/* "3.8 MiB", "512 bytes". */
struct cli_size cli_size(uint64_t bytes);

#endif
