// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * test_ram_symbols.c - symbols by name: of several the one of the lowest
 * address, also where a guest has filled its table with names that are alike.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "ram/kernel.h"

#define SYMBOLS 20000u
#define OFTEN 120u /* below it each of them is once */

static uint64_t state = 1;

static uint32_t number(uint32_t below)
{
	state = state * 6364136223846793005u + 1442695040888963407u;
	return (uint32_t)(state >> 33) % below;
}

/* One in three is a name of few that are there hundreds of times. */
static void name_of(uint32_t i, char *text, size_t size)
{
	if (i % 3)
		snprintf(text, size, "name_%u", i);
	else
		snprintf(text, size, "often_%u", i % 40);
}

static void by_name(void **arg)
{
	static uint64_t lowest[SYMBOLS]; /* of the name of each */
	struct ram_symbols s = { .nr = 0 };
	char text[32], other[32];
	uint64_t addr;

	(void)arg;
	assert_int_equal(ram_symbols_find(&s, "nothing", &addr), -ENOENT);
	for (uint32_t i = 0; i < SYMBOLS; i++) {
		lowest[i] = number(1u << 30);
		name_of(i, text, sizeof(text));
		assert_int_equal(ram_symbols_add(&s, lowest[i], text,
						 strlen(text), 1u << 30),
				 0);
	}
	for (uint32_t i = 0; i < OFTEN; i += 3) {
		name_of(i, text, sizeof(text));
		for (uint32_t k = 0; k < SYMBOLS; k += 3) {
			name_of(k, other, sizeof(other));
			if (lowest[k] < lowest[i] && !strcmp(text, other))
				lowest[i] = lowest[k];
		}
	}
	ram_symbols_sort(&s);
	for (uint32_t i = 0; i < SYMBOLS; i++) {
		if (!(i % 3) && i >= OFTEN)
			continue;
		name_of(i, text, sizeof(text));
		assert_int_equal(ram_symbols_find(&s, text, &addr), 0);
		assert_int_equal(addr, lowest[i]);
	}
	assert_int_equal(ram_symbols_find(&s, "name_3", &addr), -ENOENT);
	assert_int_equal(ram_symbols_find(&s, "", &addr), -ENOENT);
	ram_symbols_free(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(by_name),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
