/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * dlogioc.c - what a program may ask of /dev/dlog, for tests in a guest.
 *
 *	dlogioc run COMMAND...		prints the error's words, if any
 *	dlogioc show WHAT		WHAT: a number of enum dlog_ioc_what
 *	dlogioc event NAME FIELDS	prints the id
 *	dlogioc record ID HEX [ZEROS]	the data, in hexadecimal, and so many
 *					zero bytes behind it
 *	dlogioc fill			event types until there is an error;
 *					prints how many
 *	dlogioc fuzz SEED COUNT		nonsense to all of them
 *
 * Prints the name of the errno that it got, and then ends with status 1.
 * Relies on <linux/dlog.h> of the driver alone.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <linux/dlog.h>

static int fd;

static __u64 address(const void *p)
{
	return (uintptr_t)p;
}

static int run(char **words, int n)
{
	char text[4096] = "", error[200] = "";
	struct dlog_ioc_run a = {
		.text = address(text),
		.error = address(error),
		.error_size = sizeof(error),
	};
	int ret;

	for (int i = 0; i < n; i++) {
		strncat(text, words[i], sizeof(text) - strlen(text) - 2);
		strcat(text, "\n");
	}
	a.len = (__u32)strlen(text);
	ret = ioctl(fd, DLOG_IOC_RUN, &a);
	if (*error)
		printf("%s\n", error);
	return ret;
}

static int show(unsigned int what)
{
	struct dlog_ioc_show a = { .what = what };
	int size = ioctl(fd, DLOG_IOC_SHOW, &a), len;
	char *text;

	if (size < 0)
		return -1;
	text = malloc((size_t)size + 1);
	if (!text)
		return -1;
	a.text = address(text);
	a.size = (__u32)size;
	len = ioctl(fd, DLOG_IOC_SHOW, &a);
	if (len >= 0)
		fwrite(text, 1, (size_t)(len < size ? len : size), stdout);
	free(text);
	return len;
}

static int event(const char *name, const char *fields)
{
	struct dlog_ioc_event a = {
		.name = address(name),
		.fields = address(fields),
	};

	return ioctl(fd, DLOG_IOC_EVENT, &a) ? -1 : (int)a.id;
}

static int record(unsigned int id, const char *hex, unsigned int zeros)
{
	static unsigned char data[70000];
	struct dlog_ioc_record a = { .id = id, .data = address(data) };
	unsigned int byte;

	while (sscanf(hex, "%2x", &byte) == 1 && a.len < sizeof(data)) {
		data[a.len++] = (unsigned char)byte;
		hex += 2;
	}
	a.len += zeros;
	return ioctl(fd, DLOG_IOC_RECORD, &a);
}

static int fill(void)
{
	char name[64];
	int n = 0;

	do
		snprintf(name, sizeof(name), "fill:number_%d", n);
	while (event(name, "u64 a; u64 b") > 0 && ++n);
	printf("%d\n", n);
	return -1;
}

static const char *const words[] = {
	"start",
	"stop",
	"level",
	"event",
	"function",
	"set",
	"consumer",
	"on",
	"off",
	"add",
	"remove",
	"arm",
	"disarm",
	"set=fuzz",
	"set=",
	"fuzz",
	"dlogevents:ping",
	"dlogevents:*",
	"p?ng",
	"[a-z]ong",
	"zz*",
	"count",
	"once",
	"stack",
	"stop",
	"9",
	"-9",
	"99999999999",
	"7",
	"#",
	";",
	"\n",
	"u32 a",
	"str s;",
	"char c[9]",
	"bytes b",
	"a:b",
	"\\",
	"[",
	"[^",
	"",
};

/* Up to @size bytes: words of the language, or any. */
static size_t nonsense(char *to, size_t size)
{
	size_t n = 0, want = (size_t)rand() % size;

	if (rand() % 3 == 0) {
		for (; n < want; n++)
			to[n] = (char)rand();
		return n;
	}
	while (n < want) {
		const char *w = words[(size_t)rand() %
				      (sizeof(words) / sizeof(*words))];
		int len = snprintf(to + n, size - n, "%s%c", w,
				   rand() % 9 ? ' ' : rand() % 128);

		n += (size_t)len < size - n ? (size_t)len : size - n;
	}
	return n;
}

static void fuzz_once(void)
{
	static char text[3000], other[3000], error[300];
	size_t len = nonsense(text, sizeof(text));
	void *bad = rand() % 50 ? text : (void *)(uintptr_t)rand();
	struct dlog_ioc_run r = { address(bad), address(error), (__u32)len,
				  (__u32)(rand() % 300) };
	struct dlog_ioc_event e = { address(bad), address(other), 0, 0 };
	struct dlog_ioc_record d = { (__u32)(rand() % 20),
				     rand() % 40 ? (__u32)len : (__u32)rand(),
				     address(bad) };
	struct dlog_ioc_show s = { (__u32)(rand() % 7),
				   (__u32)(rand() % sizeof(other)),
				   address(rand() % 50 ? other : bad) };

	switch (rand() % 6) {
	case 0:
		text[len] = 0;
		other[nonsense(other, sizeof(other) - 1)] = 0;
		ioctl(fd, DLOG_IOC_EVENT, &e);
		break;
	case 1:
		ioctl(fd, DLOG_IOC_RECORD, &d);
		break;
	case 2:
		ioctl(fd, DLOG_IOC_SHOW, &s);
		break;
	case 3:
		ioctl(fd, (unsigned long)rand(), bad);
		break;
	default:
		ioctl(fd, DLOG_IOC_RUN, &r);
	}
}

static int dispatch(int argc, char **argv)
{
	const char *what = argv[1];

	if (!strcmp(what, "run"))
		return run(argv + 2, argc - 2);
	if (!strcmp(what, "fill"))
		return fill();
	if (!strcmp(what, "show") && argc == 3)
		return show((unsigned int)atoi(argv[2]));
	if (!strcmp(what, "record") && argc >= 4)
		return record((unsigned int)atoi(argv[2]), argv[3],
			      argc > 4 ? (unsigned int)atoi(argv[4]) : 0);
	if (!strcmp(what, "event") && argc == 4) {
		int id = event(argv[2], argv[3]);

		if (id > 0)
			printf("%d\n", id);
		return id;
	}
	if (!strcmp(what, "fuzz") && argc == 4) {
		srand((unsigned int)atoi(argv[2]));
		for (int i = atoi(argv[3]); i > 0; i--)
			fuzz_once();
		return 0;
	}
	errno = EINVAL;
	return -1;
}

int main(int argc, char **argv)
{
	const char *mode = getenv("MODE");

	if (argc < 2)
		return 2;
	fd = open("/dev/dlog", mode && !strcmp(mode, "r")   ? O_RDONLY
			       : mode && !strcmp(mode, "w") ? O_WRONLY
							    : O_RDWR);
	if (fd < 0 || dispatch(argc, argv) < 0) {
		printf("%s\n", strerrorname_np(errno));
		return 1;
	}
	return 0;
}
