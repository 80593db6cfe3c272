// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * dlog_format.c - the little of printf that dlog_client.h promises, and numbers
 * in options.
 *
 * For kernels that have none that works in every context.  Relies on nothing;
 * no 64-bit division, which 32-bit code would take from libgcc.
 */
#include "dlog_client.h"

struct out {
	char *at, *end;
};

struct spec {
	bool left, zero;
	char size; /* 0, 'l', 'L' (ll), 'z' */
	int width, precision; /* precision -1: none */
};

static void put(struct out *o, char c)
{
	if (o->at < o->end)
		*o->at++ = c;
}

static void put_padded(struct out *o, const struct spec *s, const char *text,
		       size_t len)
{
	size_t width = (size_t)s->width;

	for (size_t i = len; !s->left && i < width && o->at < o->end; i++)
		put(o, ' ');
	for (size_t i = 0; i < len && o->at < o->end; i++)
		put(o, text[i]);
	for (size_t i = len; s->left && i < width && o->at < o->end; i++)
		put(o, ' ');
}

/* *v /= base; returns the remainder. */
static uint32_t divide(uint64_t *v, uint32_t base)
{
	uint64_t quotient = 0;
	uint32_t rest = 0;

	for (int shift = 48; shift >= 0; shift -= 16) {
		rest = rest << 16 | (uint32_t)(*v >> shift & 0xffff);
		quotient |= (uint64_t)(rest / base) << shift;
		rest %= base;
	}
	*v = quotient;
	return rest;
}

static void put_number(struct out *o, struct spec *s, uint64_t v, uint32_t base,
		       const char *sign)
{
	char buf[24]; /* a sign or prefix, and the 20 digits of 2^64 */
	char *at = buf + sizeof(buf);
	bool zero = s->zero && !s->left;
	int len = 0;

	do {
		*--at = "0123456789abcdef"[divide(&v, base)];
		len++;
	} while (v);
	/* Before zeros the sign, behind spaces. */
	for (; zero && *sign; s->width--)
		put(o, *sign++);
	for (; zero && len < s->width && o->at < o->end; s->width--)
		put(o, '0');
	for (int n = sign[0] ? sign[1] ? 2 : 1 : 0; n--; len++)
		*--at = sign[n];
	s->width = zero ? 0 : s->width;
	put_padded(o, s, at, (size_t)len);
}

/* A number, or * for the next argument; from -9999 to 9999. */
static int number(const char **fmt, va_list *args)
{
	int n = 0;

	if (**fmt == '*') {
		(*fmt)++;
		n = va_arg(*args, int);
		return n > 9999 ? 9999 : n < -9999 ? -9999 : n;
	}
	for (; **fmt >= '0' && **fmt <= '9'; (*fmt)++)
		n = n > 999 ? 9999 : n * 10 + (**fmt - '0');
	return n;
}

static const char *parse(const char *fmt, struct spec *s, va_list *args)
{
	*s = (struct spec){ .precision = -1 };
	for (; *fmt == '-' || *fmt == '0'; fmt++) {
		s->left |= *fmt == '-';
		s->zero |= *fmt == '0';
	}
	s->width = number(&fmt, args);
	if (s->width < 0) {
		s->left = true;
		s->width = -s->width;
	}
	if (*fmt == '.') {
		fmt++;
		s->precision = number(&fmt, args);
	}
	if (*fmt == 'l' || *fmt == 'z')
		s->size = *fmt++;
	if (s->size == 'l' && *fmt == 'l') {
		s->size = 'L';
		fmt++;
	}
	return fmt;
}

static uint64_t take_unsigned(const struct spec *s, va_list *args)
{
	switch (s->size) {
	case 'l':
		return va_arg(*args, unsigned long);
	case 'L':
		return va_arg(*args, unsigned long long);
	case 'z':
		return va_arg(*args, size_t);
	}
	return va_arg(*args, unsigned int);
}

static int64_t take_signed(const struct spec *s, va_list *args)
{
	switch (s->size) {
	case 'l':
		return va_arg(*args, long);
	case 'L':
		return va_arg(*args, long long);
	case 'z':
		return va_arg(*args, ptrdiff_t);
	}
	return va_arg(*args, int);
}

static void put_string(struct out *o, const struct spec *s, const char *text)
{
	size_t max = s->precision < 0 ? SIZE_MAX : (size_t)s->precision;
	size_t len = 0;

	if (!text)
		text = "(null)";
	while (len < max && text[len])
		len++;
	put_padded(o, s, text, len);
}

/* One conversion; false: none of ours. */
static bool convert(struct out *o, struct spec *s, char what, va_list *args)
{
	int64_t v;
	char c;

	switch (what) {
	case '%':
		put(o, '%');
		return true;
	case 'c':
		c = (char)va_arg(*args, int);
		put_padded(o, s, &c, 1);
		return true;
	case 's':
		put_string(o, s, va_arg(*args, const char *));
		return true;
	case 'd':
	case 'i':
		v = take_signed(s, args);
		put_number(o, s, v < 0 ? -(uint64_t)v : (uint64_t)v, 10,
			   v < 0 ? "-" : "");
		return true;
	case 'u':
		put_number(o, s, take_unsigned(s, args), 10, "");
		return true;
	case 'x':
		put_number(o, s, take_unsigned(s, args), 16, "");
		return true;
	case 'p':
		put_number(o, s, (uintptr_t)va_arg(*args, void *), 16, "0x");
		return true;
	}
	return false;
}

/* The list in a struct: va_list is an array here and a pointer there. */
struct list {
	va_list args;
};

size_t dlog_client_format(char *buf, size_t size, const char *fmt, va_list args)
{
	struct out o = { buf, size ? buf + size - 1 : buf };
	struct list l;

	va_copy(l.args, args);
	while (*fmt) {
		const char *from = fmt;
		struct spec s;

		if (*fmt != '%') {
			put(&o, *fmt++);
			continue;
		}
		fmt = parse(fmt + 1, &s, &l.args);
		if (*fmt && convert(&o, &s, *fmt, &l.args)) {
			fmt++;
			continue;
		}
		for (fmt = from; *fmt; fmt++)
			put(&o, *fmt);
	}
	va_end(l.args);
	if (size)
		*o.at = 0;
	return (size_t)(o.at - buf);
}

size_t dlog_client_print(char *buf, size_t size, const char *fmt, ...)
{
	va_list args;
	size_t n;

	va_start(args, fmt);
	n = dlog_client_format(buf, size, fmt, args);
	va_end(args);
	return n;
}

static uint32_t digit_of(char c)
{
	if (c >= '0' && c <= '9')
		return (uint32_t)(c - '0');
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? (uint32_t)(c - 'a') + 10 : 16;
}

uint64_t dlog_client_number(const char **s)
{
	uint32_t base = 10, shift = 0;
	const char *at = *s;
	uint64_t v = 0;

	if (at[0] == '0' && at[1] == 'x') {
		base = 16;
		at += 2;
	}
	for (; digit_of(*at) < base; at++)
		v = v * base + digit_of(*at);
	switch (*at | 0x20) {
	case 'k':
		shift = 10;
		break;
	case 'm':
		shift = 20;
		break;
	case 'g':
		shift = 30;
		break;
	}
	*s = at + (shift != 0);
	return v << shift;
}
