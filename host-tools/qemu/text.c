// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * text.c - strings of QEMU's command line: option syntax, sizes, quoting.
 *
 * Relies on the C library, and on jansson for -object and -device given as
 * JSON, as libvirt does.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "qemu.h"

/* Takes over @key and @value. */
static int props_add(struct props *p, char *key, char *value)
{
	struct prop *v = NULL;

	if (key && value)
		v = realloc(p->v, (p->n + 1) * sizeof(*v));
	if (!v) {
		free(key);
		free(value);
		return -ENOMEM;
	}
	p->v = v;
	p->v[p->n++] = (struct prop){ key, value };
	return 0;
}

static int props_parse_json(struct props *p, const char *text)
{
	json_t *root = json_loads(text, 0, NULL), *value;
	const char *key;
	char number[32];
	int ret = json_is_object(root) ? 0 : -EINVAL;

	json_object_foreach(root, key, value)
	{
		const char *s = NULL;

		if (json_is_string(value)) {
			s = json_string_value(value);
		} else if (json_is_boolean(value)) {
			s = json_is_true(value) ? "on" : "off";
		} else if (json_is_integer(value)) {
			snprintf(number, sizeof(number),
				 "%" JSON_INTEGER_FORMAT,
				 json_integer_value(value));
			s = number;
		}
		if (s && !ret)
			ret = props_add(p, strdup(key), strdup(s));
	}
	json_decref(root);
	return ret;
}

/* The value at @*at, up to a single comma, which is skipped. */
static char *take_value(const char **at)
{
	const char *s = *at;
	char *value = malloc(strlen(s) + 1);
	size_t n = 0;

	if (!value)
		return NULL;
	while (*s && (*s != ',' || s[1] == ',')) {
		s += *s == ',';
		value[n++] = *s++;
	}
	value[n] = '\0';
	*at = s + (*s == ',');
	return value;
}

int props_parse(struct props *p, const char *text, const char *implied)
{
	const char *at = text;
	int ret = 0;

	if (*text == '{')
		return props_parse_json(p, text);
	while (*at && !ret) {
		size_t len = strcspn(at, "=,");
		char *key;

		if (at[len] == '=') {
			key = strndup(at, len);
			at += len + 1;
			ret = props_add(p, key, take_value(&at));
		} else if (at == text && implied) {
			ret = props_add(p, strdup(implied), take_value(&at));
		} else {
			ret = props_add(p, take_value(&at), strdup("on"));
		}
	}
	return ret;
}

const char *props_get(const struct props *p, const char *key)
{
	for (size_t i = p->n; i-- > 0;)
		if (!strcmp(p->v[i].key, key))
			return p->v[i].value;
	return NULL;
}

void props_free(struct props *p)
{
	for (size_t i = 0; i < p->n; i++) {
		free(p->v[i].key);
		free(p->v[i].value);
	}
	free(p->v);
	*p = (struct props){ 0 };
}

static bool one_of(const char *word, const char *const *list)
{
	for (; word && *list; list++)
		if (!strcmp(word, *list))
			return true;
	return false;
}

bool means_on(const char *value)
{
	/* qapi/qapi-util.c, qapi_bool_parse() */
	static const char *const words[] = { "on", "yes", "true", "y", NULL };

	return one_of(value, words);
}

bool means_off(const char *value)
{
	static const char *const words[] = { "off", "no", "false", "n", NULL };

	return one_of(value, words);
}

int size_parse(const char *text, uint64_t unit, uint64_t *out)
{
	static const char suffixes[] = "bkmgtpe";
	bool hex = text[0] == '0' && (text[1] == 'x' || text[1] == 'X');
	const char *suffix;
	char *end;
	long double value;

	/* strtold() takes more than QEMU does: signs, infinity, exponents. */
	if (strspn(text, hex ? "0x123456789abcdefABCDEFX" : "0123456789.") == 0)
		return -EINVAL;
	if (hex) {
		errno = 0;
		value = strtoull(text, &end, 16);
		if (errno || end < text + 3)
			return -EINVAL;
	} else {
		size_t len = strspn(text, "0123456789.");
		char digits[40];

		if (len >= sizeof(digits))
			return -ERANGE;
		memcpy(digits, text, len);
		digits[len] = '\0';
		value = strtold(digits, &end);
		if (*end)
			return -EINVAL;
		end = (char *)text + len;
	}
	if (*end) {
		suffix = strchr(suffixes, *end | 0x20);
		if (hex || !suffix || end[1])
			return -EINVAL;
		unit = UINT64_C(1) << (10 * (suffix - suffixes));
	}
	value *= unit;
	if (value >= 0x1p63L)
		return -ERANGE;
	*out = (uint64_t)value;
	return 0;
}

struct size_text size_text(uint64_t bytes)
{
	struct size_text t;
	uint64_t unit = 1;
	char suffix = 'B';

	if (bytes % MIB == 0) {
		unit = MIB;
		suffix = 'M';
	} else if (bytes % KIB == 0) {
		unit = KIB;
		suffix = 'K';
	}
	snprintf(t.s, sizeof(t.s), "%llu%c", (unsigned long long)(bytes / unit),
		 suffix);
	return t;
}

char *double_commas(const char *text)
{
	char *out = malloc(2 * strlen(text) + 1), *to = out;

	if (!out)
		return NULL;
	for (; *text; text++) {
		*to++ = *text;
		if (*text == ',')
			*to++ = ',';
	}
	*to = '\0';
	return out;
}

void shell_quote(FILE *out, const char *word)
{
	static const char plain[] = "abcdefghijklmnopqrstuvwxyz"
				    "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
				    "0123456789@%+=:,./_-";

	if (*word && strspn(word, plain) == strlen(word)) {
		fputs(word, out);
		return;
	}
	putc('\'', out);
	for (; *word; word++) {
		if (*word == '\'')
			fputs("'\\''", out);
		else
			putc(*word, out);
	}
	putc('\'', out);
}
