// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * vmlinuz.c - the kernel inside a kernel's file.
 *
 * A vmlinuz of x86 is a bzImage (Linux 6.1 Documentation/x86/boot.rst, from
 * boot protocol 2.08 on), whose payload is the vmlinux, packed by one of the
 * kernel's methods; its unpacked size follows it (arch/x86/boot/compressed/
 * Makefile; gzip ends with it itself).
 */
#include <errno.h>
#include <fcntl.h>
#include <lzma.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

#include "core.h"

#define HEAD 0x250u
#define SETUP_SECTS 0x1f1u
#define MAGIC 0x202u /* "HdrS" */
#define VERSION 0x206u
#define PAYLOAD_OFFSET 0x248u
#define PAYLOAD_LENGTH 0x24cu
#define PACKED_MAX (256u << 20)
#define UNPACKED_MAX (512u << 20)
/* Debug information lies behind what is loaded, and is not wanted. */
#define ELF_READ_MAX (256u << 20)

static uint32_t get32(const uint8_t *p)
{
	uint32_t v;

	memcpy(&v, p, sizeof(v));
	return v;
}

/* ---- unpacking: true if all @size bytes of @out came out ---- */

static bool from_lzma(lzma_stream *s, lzma_ret ret, const uint8_t *in,
		      size_t len, uint8_t *out, size_t size)
{
	s->next_in = in;
	s->avail_in = len;
	s->next_out = out;
	s->avail_out = size;
	if (ret == LZMA_OK)
		ret = lzma_code(s, LZMA_FINISH);
	lzma_end(s);
	return (ret == LZMA_OK || ret == LZMA_STREAM_END) && !s->avail_out;
}

static bool unpack_xz(const uint8_t *in, size_t len, uint8_t *out, size_t size)
{
	lzma_stream s = LZMA_STREAM_INIT;

	return from_lzma(&s, lzma_stream_decoder(&s, UNPACKED_MAX, 0), in, len,
			 out, size);
}

static bool unpack_lzma(const uint8_t *in, size_t len, uint8_t *out,
			size_t size)
{
	lzma_stream s = LZMA_STREAM_INIT;

	return from_lzma(&s, lzma_alone_decoder(&s, UNPACKED_MAX), in, len, out,
			 size);
}

static bool unpack_zstd(const uint8_t *in, size_t len, uint8_t *out,
			size_t size)
{
	ZSTD_DStream *s = ZSTD_createDStream();
	ZSTD_inBuffer from = { in, len, 0 };
	ZSTD_outBuffer to = { out, size, 0 };
	size_t before, ret = 0;

	if (!s)
		return false;
	/* The size's bytes behind the frame are no frame: they are left. */
	do {
		before = to.pos + from.pos;
		ret = ZSTD_decompressStream(s, &to, &from);
	} while (!ZSTD_isError(ret) && ret && to.pos + from.pos > before);
	ZSTD_freeDStream(s);
	return !ZSTD_isError(ret) && to.pos == size;
}

static bool unpack_gzip(const uint8_t *in, size_t len, uint8_t *out,
			size_t size)
{
	z_stream s = { .next_in = (Bytef *)(uintptr_t)in,
		       .avail_in = (uInt)len,
		       .next_out = out,
		       .avail_out = (uInt)size };
	int ret;

	if (inflateInit2(&s, 15 + 16) != Z_OK)
		return false;
	ret = inflate(&s, Z_FINISH);
	inflateEnd(&s);
	return (ret == Z_STREAM_END || ret == Z_BUF_ERROR || ret == Z_OK) &&
	       !s.avail_out;
}

static const struct method {
	const char *magic;
	size_t len;
	bool (*unpack)(const uint8_t *in, size_t len, uint8_t *out,
		       size_t size);
} methods[] = {
	{ "\xfd"
	  "7zXZ",
	  5, unpack_xz },
	{ "\x28\xb5\x2f\xfd", 4, unpack_zstd },
	{ "\x1f\x8b\x08", 3, unpack_gzip },
	{ "\x5d\0\0", 3, unpack_lzma },
};

static int unpack(const char *path, const uint8_t *in, size_t len,
		  uint8_t **out, size_t *size, struct dlog_error *err)
{
	const struct method *m = methods, *end;

	end = m + sizeof(methods) / sizeof(*methods);
	while (m < end && (len < 16 || memcmp(in, m->magic, m->len)))
		m++;
	if (m == end)
		return fail(err, -EINVAL,
			    "%s is packed in a way that is not known here: "
			    "give its vmlinux (xz, zstd, gzip and lzma are "
			    "known).",
			    path);
	*size = get32(in + len - 4);
	if (!*size || *size > UNPACKED_MAX)
		return fail(err, -EINVAL, "%s is damaged: its size is wrong.",
			    path);
	*out = malloc(*size);
	if (!*out)
		return fail(err, -ENOMEM, "No memory to unpack %s.", path);
	if (m->unpack(in, len, *out, *size))
		return 1;
	return fail(err, -EINVAL, "%s is damaged: it cannot be unpacked.",
		    path);
}

/* ---- the file ---- */

/* @len bytes at @off of @fd, all of them. */
static int read_part(const char *path, int fd, uint64_t off, size_t len,
		     uint8_t **out, struct dlog_error *err)
{
	uint8_t *p = malloc(len ? len : 1);

	*out = p;
	if (!p)
		return fail(err, -ENOMEM, "No memory to read %s.", path);
	while (len) {
		ssize_t n = pread(fd, p, len, (off_t)off);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return fail(err, n ? -errno : -EIO,
				    "Cannot read %s: %s.", path,
				    n ? strerror(errno) : "it is cut short");
		p += n;
		off += (uint64_t)n;
		len -= (size_t)n;
	}
	return 0;
}

static int load_packed(const char *path, int fd, const uint8_t *head,
		       uint64_t file, uint8_t **out, size_t *size,
		       struct dlog_error *err)
{
	uint64_t sects = head[SETUP_SECTS] ? head[SETUP_SECTS] : 4;
	uint64_t off = (sects + 1) * 512 + get32(head + PAYLOAD_OFFSET);
	uint32_t len = get32(head + PAYLOAD_LENGTH);
	uint8_t *packed;
	int ret;

	if ((head[VERSION + 1] << 8 | head[VERSION]) < 0x208 || off > file ||
	    len > file - off || len > PACKED_MAX)
		return fail(err, -EINVAL,
			    "%s is damaged, or a kernel before 2.6.26.", path);
	ret = read_part(path, fd, off, len, &packed, err);
	if (!ret)
		ret = unpack(path, packed, len, out, size, err);
	free(packed);
	return ret;
}

static int load(const char *path, int fd, uint8_t **out, size_t *size,
		struct dlog_error *err)
{
	uint8_t head[HEAD];
	struct stat st;
	int ret;

	if (fstat(fd, &st) || !S_ISREG(st.st_mode) ||
	    pread(fd, head, sizeof(head), 0) != (ssize_t)sizeof(head))
		return 0;
	if (!memcmp(head + MAGIC, "HdrS", 4))
		return load_packed(path, fd, head, (uint64_t)st.st_size, out,
				   size, err);
	if (memcmp(head, "\177ELF", 4))
		return 0;
	*size = st.st_size < ELF_READ_MAX ? (size_t)st.st_size : ELF_READ_MAX;
	ret = read_part(path, fd, 0, *size, out, err);
	return ret ? ret : 1;
}

int vmlinuz_load(const char *path, uint8_t **out, size_t *size,
		 struct dlog_error *err)
{
	int ret, fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);

	*out = NULL;
	if (fd < 0)
		return fail(err, -errno, "Cannot open %s: %s.", path,
			    strerror(errno));
	ret = load(path, fd, out, size, err);
	close(fd);
	return ret;
}
