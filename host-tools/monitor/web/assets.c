// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * assets.c - style.css and script.js as part of the program, so that the page
 * needs no file and no network.  The path is from the tree's root, where the
 * Makefile compiles.
 */
#include "web.h"

#define ASSET(symbol, file)                                                    \
	__asm__(".pushsection .rodata\n" #symbol ":\n"                         \
		".incbin \"host-tools/monitor/web/" file "\"\n" #symbol        \
		"_end:\n"                                                      \
		".byte 0\n"                                                    \
		".global " #symbol ", " #symbol "_end\n"                       \
		".hidden " #symbol ", " #symbol "_end\n"                       \
		".popsection\n")

ASSET(asset_style, "style.css");
ASSET(asset_script, "script.js");
