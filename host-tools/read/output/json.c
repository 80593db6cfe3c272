// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * json.c - records as JSON, one object a line (dlog-read(1) lists the
 * fields).
 */
#include "../read.h"

static int json_entry(struct view *v, struct source *src,
		      const struct dlog_entry *e)
{
	struct json j = { .s = v->out };

	json_open(&j, '{');
	json_key(&j, "file");
	json_text(&j, src->path);
	if (src->info.label[0]) {
		json_key(&j, "label");
		json_text(&j, src->info.label);
	}
	entry_json(&j, &v->date, &v->text, e);
	json_close(&j, '}');
	json_line(&j);
	return v->out->error;
}

const struct output output_json = {
	.name = "json",
	.help = "one object a line",
	.follow = true,
	.tables = true,
	.json = true,
	.entry = json_entry,
};
