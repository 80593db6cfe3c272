// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * html.c - escaping, and tables as HTML and as JSON.
 *
 * A table's row is written once, by functions that do not know which of the
 * two it becomes: the page as it is loaded and what the script puts into it
 * later cannot differ.
 */
#include <inttypes.h>
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "web.h"

/* HTML for @c, or NULL if it stands for itself. */
static const char *html_of(char c, bool line)
{
	switch (c) {
	case '&':
		return "&amp;";
	case '<':
		return "&lt;";
	case '>':
		return "&gt;";
	case '"':
		return "&quot;";
	case '\'':
		return "&#39;";
	case '\n':
		return line ? "\\x0a" : NULL;
	}
	return NULL;
}

/* Escape what stands in @s from @from on, from its end backwards. */
static void escape_tail(struct sink *s, size_t from, bool line)
{
	size_t extra = 0, end = s->len;
	const char *html;
	char *to;

	for (size_t i = from; i < end; i++) {
		html = html_of(s->buf[i], line);
		extra += html ? strlen(html) - 1 : 0;
	}
	if (!extra || !sink_room(s, extra))
		return;
	s->len += extra;
	to = s->buf + s->len;
	for (size_t i = end; i-- > from;) {
		html = html_of(s->buf[i], line);
		if (html) {
			to -= strlen(html);
			memcpy(to, html, strlen(html));
		} else {
			*--to = s->buf[i];
		}
	}
}

/* Is glibc's own; without it what is not ASCII is shown as \xNN. */
static locale_t utf8;

void html_start(void)
{
	utf8 = newlocale(LC_CTYPE_MASK, "C.UTF-8", NULL);
}

void html_stop(void)
{
	if (utf8)
		freelocale(utf8);
	utf8 = NULL;
}

/* text_put() shows what the locale can print; the page is always UTF-8. */
void html_plain(struct sink *s, const void *text, size_t len)
{
	locale_t old = uselocale(utf8);

	text_put(s, text, len, 0);
	uselocale(old);
}

void html_text(struct sink *s, const void *text, size_t len, bool line)
{
	size_t from = s->len;

	html_plain(s, text, len);
	if (!s->error)
		escape_tail(s, from, line);
}

uint64_t html_hash(const void *data, size_t len)
{
	const uint8_t *p = data;
	uint64_t h = UINT64_C(0xcbf29ce484222325); /* FNV-1a */

	for (size_t i = 0; i < len; i++)
		h = (h ^ p[i]) * UINT64_C(0x100000001b3);
	return h;
}

void html_date(char out[32], uint64_t real)
{
	time_t t = (time_t)(real / NS_PER_S);
	struct tm tm;

	out[0] = '\0';
	if (real && gmtime_r(&t, &tm))
		strftime(out, 32, "%Y-%m-%d %H:%M:%S", &tm);
}

/* ---- pages ---- */

void html_page(struct sink *s, const char *title, unsigned int refresh)
{
	sink_puts(s, "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n"
		     "<meta charset=\"utf-8\">\n"
		     "<meta name=\"viewport\" content=\"width=device-width, "
		     "initial-scale=1\">\n"
		     "<link rel=\"icon\" href=\"data:,\">\n"
		     "<link rel=\"stylesheet\" href=\"/style.css\">\n"
		     "<script src=\"/script.js\" defer></script>\n");
	if (refresh)
		sink_printf(s,
			    "<noscript><meta http-equiv=\"refresh\" "
			    "content=\"%u\"></noscript>\n",
			    refresh);
	sink_puts(s, "<title>");
	html_text(s, title, strlen(title), true);
	sink_puts(s, " - dlogd</title>\n</head>\n<body>\n<header>"
		     "<a href=\"/\">dlogd</a> <span id=\"link\" "
		     "role=\"status\"></span></header>\n"
		     "<p id=\"said\" role=\"status\" aria-live=\"polite\"></p>"
		     "\n<main>\n<h1>");
	html_text(s, title, strlen(title), true);
	sink_puts(s, "</h1>\n");
}

void html_page_end(struct sink *s)
{
	sink_puts(s, "</main>\n<footer>dlogd " DLOG_VERSION ", times are UTC "
		     "- <a href=\"/metrics\">metrics</a> "
		     "<a href=\"/api/guests\">JSON</a></footer>\n"
		     "</body>\n</html>\n");
}

void html_table(struct sink *s, const char *id, const char *caption,
		const char *const *columns)
{
	sink_printf(s, "<section><h2>%s</h2>\n<div class=\"scroll\">", caption);
	sink_printf(s, "<table id=\"%s\">\n<thead><tr>", id);
	for (; *columns; columns++)
		sink_printf(s, "<th scope=\"col\">%s</th>", *columns);
	sink_puts(s, "</tr></thead>\n<tbody>");
}

void html_table_end(struct sink *s)
{
	sink_puts(s, "</tbody></table></div></section>\n");
}

/* ---- rows ---- */

void html_row(struct rows *rs, const char *key)
{
	rs->head = true;
	if (rs->html) {
		sink_puts(rs->s, "<tr data-key=\"");
		html_text(rs->s, key, strlen(key), true);
		sink_puts(rs->s, "\">");
		return;
	}
	rs->j.s = rs->s;
	json_open(&rs->j, '{');
	json_key(&rs->j, "key");
	json_text(&rs->j, key);
	json_key(&rs->j, "cells");
	json_open(&rs->j, '[');
}

void html_row_end(struct rows *rs)
{
	if (rs->html) {
		sink_puts(rs->s, "</tr>\n");
		return;
	}
	json_close(&rs->j, ']');
	json_close(&rs->j, '}');
}

static void cell_html(struct rows *rs, const char *class, const char *href,
		      const void *text, size_t len)
{
	sink_puts(rs->s, rs->head ? "<th scope=\"row\"" : "<td");
	if (class)
		sink_printf(rs->s, " class=\"%s\"", class);
	sink_putc(rs->s, '>');
	if (href) {
		sink_puts(rs->s, "<a href=\"");
		html_text(rs->s, href, strlen(href), true);
		sink_puts(rs->s, "\">");
	} else {
		sink_puts(rs->s, "<span>");
	}
	html_text(rs->s, text, len, true);
	sink_puts(rs->s, href ? "</a>" : "</span>");
	sink_puts(rs->s, rs->head ? "</th>" : "</td>");
}

/* [text, class, href] */
static void cell_json(struct rows *rs, const char *class, const char *href,
		      const void *text, size_t len)
{
	json_open(&rs->j, '[');
	rs->tmp->len = 0;
	html_plain(rs->tmp, text, len);
	json_string(&rs->j, rs->tmp->buf, rs->tmp->len);
	json_text(&rs->j, class ? class : "");
	json_text(&rs->j, href ? href : "");
	json_close(&rs->j, ']');
}

void cell_text(struct rows *rs, const char *class, const char *href,
	       const void *text, size_t len)
{
	if (rs->html)
		cell_html(rs, class, href, text, len);
	else
		cell_json(rs, class, href, text, len);
	rs->head = false;
}

void cell_printf(struct rows *rs, const char *class, const char *href,
		 const char *fmt, ...)
{
	char text[512];
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (n < 0)
		n = 0;
	cell_text(rs, class, href, text,
		  n < (int)sizeof(text) ? (size_t)n : sizeof(text) - 1);
}
