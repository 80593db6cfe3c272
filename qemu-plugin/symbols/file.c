// SPDX-License-Identifier: GPL-2.0-only
/* file.c - one file of symbols, whatever kind it is of. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "symbols.h"

static int read_file(struct symbol_file *f, int fd)
{
	char magic[4] = "";
	struct stat st;
	FILE *in;
	int ret;

	if (fstat(fd, &st) || !S_ISREG(st.st_mode)) {
		tell("%s is not a file", f->path);
		return -EINVAL;
	}
	if (pread(fd, magic, sizeof(magic), 0) == sizeof(magic) &&
	    !memcmp(magic, "\177ELF", 4))
		return elf_load(f, fd);
	fd = dup(fd);
	in = fd < 0 ? NULL : fdopen(fd, "r");
	if (!in) {
		ret = -errno;
		if (fd >= 0)
			close(fd);
		tell("cannot read %s: %s", f->path, strerror(-ret));
		return ret;
	}
	ret = text_load(f, in);
	fclose(in);
	return ret;
}

int file_load(struct symbol_file *f, const char *path)
{
	int ret, fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);

	f->path = path;
	if (fd < 0) {
		ret = -errno;
		tell("cannot open %s: %s", path, strerror(-ret));
		return ret;
	}
	ret = read_file(f, fd);
	close(fd);
	if (ret)
		return ret;
	ret = table_finish(f);
	if (ret)
		tell("no memory for the symbols of %s", path);
	return ret;
}
