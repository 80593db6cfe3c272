// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * test_create.c - dlog_create(): what it makes, and that it never harms what
 * is there; dlog_lock(); opening files that are no regions.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "world.h"

static char dir[64], path[128];

static int setup(void **state)
{
	(void)state;
	strcpy(dir, "/tmp/dlog-test-XXXXXX");
	if (!mkdtemp(dir))
		return -1;
	snprintf(path, sizeof(path), "%s/region", dir);
	return 0;
}

static int teardown(void **state)
{
	char name[PATH_MAX];
	struct dirent *e;
	DIR *d = opendir(dir);

	(void)state;
	while ((e = readdir(d))) {
		snprintf(name, sizeof(name), "%s/%s", dir, e->d_name);
		if (e->d_name[0] != '.' || strlen(e->d_name) > 2)
			if (unlink(name))
				rmdir(name);
	}
	closedir(d);
	return rmdir(dir);
}

static int files(void)
{
	struct dirent *e;
	DIR *d = opendir(dir);
	int n = -2;

	while ((e = readdir(d)))
		n++;
	closedir(d);
	return n;
}

static int create(const struct dlog_create_args *a)
{
	struct dlog_error err = { "" };
	int before = files(), ret = dlog_create(path, a, &err);

	if (ret) {
		/* One sentence, with the path, nothing left behind. */
		assert_non_null(strstr(err.text, path));
		assert_int_equal(err.text[strlen(err.text) - 1], '.');
		assert_int_equal(files(), before);
	}
	return ret;
}

static void defaults(void **state)
{
	struct dlog_create_args a = { .label = "a label" };
	struct dlog_info info;
	struct stat st;
	struct dlog *d;

	(void)state;
	umask(0);
	assert_int_equal(create(&a), 0);
	assert_int_equal(files(), 1);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	assert_int_equal(st.st_size, 16 << 20);
	assert_true(st.st_blocks * 512 >= st.st_size);
	assert_int_equal(dlog_open(&d, path, 0, NULL), 0);
	dlog_get_info(d, &info);
	assert_int_equal(info.nr_rings, 4);
	assert_int_equal(info.nr_cpus, 64);
	assert_int_equal(info.boot_slots, 64);
	assert_int_equal(info.subbuf_size, 16384);
	assert_int_equal(info.catalog_size, 1 << 20);
	assert_string_equal(info.label, "a label");
	assert_false(info.backup);
	assert_int_equal(dlog_set_control(d, true), -EROFS);
	dlog_close(d);
}

/* Every size makes sense: rings of 16 sub-buffers, small metadata. */
static void sizes(void **state)
{
	struct dlog_create_args a = { .force = true };
	struct dlog_info info;
	struct dlog *d;

	(void)state;
	for (a.size = 65536; a.size <= 64 << 20; a.size *= 2) {
		assert_int_equal(create(&a), 0);
		assert_int_equal(dlog_open(&d, path, 0, NULL), 0);
		dlog_get_info(d, &info);
		assert_int_equal(info.region_size, a.size);
		assert_true(info.nr_rings * info.ring_size >= a.size * 3 / 4);
		assert_true(info.ring_size / info.subbuf_size >= 12);
		assert_true(info.boot_slots >= 4);
		dlog_close(d);
	}
	for (a.rings = 1, a.size = 64 << 20; a.rings <= 1024; a.rings *= 4)
		assert_int_equal(create(&a), 0);
}

static void limits(void **state)
{
	static const struct dlog_create_args bad[] = {
		{ .size = 4096 },
		{ .size = 65536 + 1 },
		{ .size = (UINT64_C(1) << 40) + 4096 },
		{ .size = UINT64_MAX },
		{ .rings = 1025 },
		{ .subbuf_size = 2048 },
		{ .subbuf_size = 5000 },
		{ .subbuf_size = 1 << 17 },
		{ .cpus = 5000 },
		{ .boots = 3 },
		{ .boots = 5000 },
		{ .catalog = 64 << 20 },
		{ .size = 64 << 20, .catalog = (16 << 20) + 8 },
		{ .catalog = UINT64_MAX },
		{ .size = 65536, .rings = 64 },
		{ .size = 1 << 20, .rings = 1024, .subbuf_size = 65536 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		if (create(&bad[i]) != -EINVAL)
			fail_msg("arguments %zu were taken", i);
		assert_int_equal(files(), 0);
	}
}

static void write_text(const char *name)
{
	int fd = open(name, O_CREAT | O_WRONLY | O_TRUNC, 0644);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, "precious", 8), 8);
	close(fd);
}

static void check_text(const char *name)
{
	char buf[16] = "";
	int fd = open(name, O_RDONLY);

	assert_int_equal(read(fd, buf, sizeof(buf)), 8);
	assert_string_equal(buf, "precious");
	close(fd);
}

static void existing(void **state)
{
	struct dlog_create_args a = { .size = 65536 };
	char other[128];
	struct dlog *d;
	int fd;

	(void)state;
	write_text(path);
	assert_int_equal(create(&a), -EEXIST);
	check_text(path);

	/* In use: not even with force. */
	fd = open(path, O_RDWR);
	assert_int_equal(dlog_lock(fd), 0);
	a.force = true;
	assert_int_equal(create(&a), -EBUSY);
	check_text(path);
	close(fd);
	assert_int_equal(create(&a), 0);
	assert_int_equal(dlog_open(&d, path, DLOG_OPEN_WRITE, NULL), 0);
	dlog_close(d);
	unlink(path);

	/* Links, directories, pipes: never. */
	snprintf(other, sizeof(other), "%s/other", dir);
	write_text(other);
	assert_int_equal(symlink(other, path), 0);
	assert_int_equal(create(&a), -ELOOP);
	check_text(other);
	unlink(path);
	assert_int_equal(symlink("nowhere", path), 0);
	assert_int_equal(create(&a), -ELOOP);
	unlink(path);
	assert_int_equal(mkdir(path, 0700), 0);
	assert_int_equal(create(&a), -EISDIR);
	rmdir(path);
	assert_int_equal(mkfifo(path, 0600), 0);
	assert_int_equal(create(&a), -EINVAL);
}

static void no_directory(void **state)
{
	struct dlog_create_args a = { .size = 65536 };
	struct dlog_error err;

	(void)state;
	assert_int_equal(dlog_create("/nonexistent/x", &a, &err), -ENOENT);
	assert_int_equal(dlog_create("/tmp/", &a, &err), -EISDIR);
	assert_int_equal(dlog_create("", &a, &err), -EINVAL);
	assert_int_equal(dlog_create("/dev/full/x", &a, &err), -ENOTDIR);
}

/* A file that cannot get its blocks is an error, and nothing stays. */
static void no_room(void **state)
{
	struct dlog_create_args a = { .size = 1 << 20 };
	struct rlimit old, low;

	(void)state;
	signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
	low = old;
	low.rlim_cur = 1 << 19;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &low), 0);
	assert_int_equal(create(&a), -EFBIG);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
	assert_int_equal(files(), 0);
}

static void lock(void **state)
{
	struct dlog_create_args a = { .size = 65536 };
	int one, two, copy;

	(void)state;
	assert_int_equal(create(&a), 0);
	one = open(path, O_RDWR);
	two = open(path, O_RDWR);
	assert_int_equal(dlog_lock(one), 0);
	assert_int_equal(dlog_lock(one), 0);
	assert_int_equal(dlog_lock(two), -EBUSY);
	copy = dup(one);
	close(one);
	assert_int_equal(dlog_lock(two), -EBUSY);
	close(copy);
	assert_int_equal(dlog_lock(two), 0);
	close(two);
	assert_int_equal(dlog_lock(-1), -EBADF);
}

static void not_a_region(void **state)
{
	struct dlog_create_args a = { .size = 65536 };
	struct dlog_error err;
	struct dlog *d;

	(void)state;
	assert_int_equal(dlog_open(&d, path, 0, &err), -ENOENT);
	assert_non_null(strstr(err.text, path));
	assert_int_equal(dlog_open(&d, dir, 0, &err), -EISDIR);
	assert_int_equal(dlog_open(&d, dir, DLOG_OPEN_WRITE, &err), -EISDIR);
	assert_int_equal(dlog_open(&d, "/dev/zero", 0, &err), -EINVAL);
	write_text(path);
	assert_int_equal(dlog_open(&d, path, 0, &err), -EBADMSG);
	assert_int_equal(truncate(path, 0), 0);
	assert_int_equal(dlog_open(&d, path, 0, &err), -ENODATA);
	assert_int_equal(truncate(path, 1 << 20), 0);
	assert_int_equal(dlog_open(&d, path, 0, &err), -EBADMSG);
	unlink(path);
	assert_int_equal(mkfifo(path, 0600), 0);
	assert_int_equal(dlog_open(&d, path, 0, &err), -EINVAL);
	unlink(path);
	assert_int_equal(create(&a), 0);
	assert_int_equal(truncate(path, 61440), 0);
	assert_int_equal(dlog_open(&d, path, 0, &err), -EBADMSG);
}

static void control_word(void **state)
{
	struct dlog_create_args a = { .size = 65536 };
	struct dlog_live live;
	struct dlog *d;

	(void)state;
	assert_int_equal(create(&a), 0);
	assert_int_equal(dlog_open(&d, path, DLOG_OPEN_WRITE, NULL), 0);
	assert_int_equal(dlog_set_control(d, true), 0);
	dlog_get_live(d, &live);
	assert_true(live.stop_asked);
	assert_int_equal(dlog_set_control(d, false), 0);
	dlog_get_live(d, &live);
	assert_false(live.stop_asked);
	dlog_close(d);
}

/* A file cut short while it is open: errors, no signal. */
static void cut_short(void **state)
{
	struct dlog_create_args a = { .size = 1 << 20 };
	struct dlog_boot_entry *b = NULL;
	struct dlog_loss *l = NULL;
	struct dlog_reader *r;
	struct dlog_entry e;
	struct dlog_live live;
	struct dlog_beat beat;
	struct dlog_reg_entry regs;
	struct dlog_event_desc desc;
	struct dlog *d;
	int ret;

	(void)state;
	assert_int_equal(create(&a), 0);
	assert_int_equal(dlog_open(&d, path, 0, NULL), 0);
	assert_int_equal(truncate(path, 100), 0);
	dlog_get_live(d, &live);
	assert_int_equal(live.boot, 0);
	assert_int_equal(dlog_get_beat(d, 0, &beat), 0);
	assert_int_equal(dlog_get_regs(d, 0, 0, &regs), 0);
	assert_int_equal(dlog_get_event(d, 1, &desc), 0);
	assert_true(dlog_get_boots(d, &b) <= 0);
	assert_true(dlog_get_loss(d, &l) <= 0);
	ret = dlog_reader_new(&r, &d, 1, 0, NULL);
	if (!ret) {
		assert_true(dlog_reader_next(r, &e, 0) <= 0);
		dlog_reader_free(r);
	}
	free(b);
	free(l);
	dlog_close(d);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(defaults),	 T(sizes),     T(limits), T(existing),
		T(no_directory), T(no_room),   T(lock),	  T(not_a_region),
		T(control_word), T(cut_short),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
