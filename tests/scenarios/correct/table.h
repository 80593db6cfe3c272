/* SPDX-License-Identifier: GPL-2.0-only */
/* table.h - what the files of the correct module share: names with numbers. */
#ifndef TABLE_H
#define TABLE_H

int table_add(const char *name);
int table_find(const char *name);
void table_clear(void);

/* cost.c */
void cost(void);

#endif
