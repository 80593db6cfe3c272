// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * config.c - dlogd.conf: INI as systemd writes it.
 *
 *	[section] or [section NAME]
 *	key = value		a list's key stands once for each of its values;
 *				an empty value clears what stood before
 *	# comment, ; comment
 *
 * Later files and later lines win.  Reading goes on after a mistake, so that
 * one run tells all of them.
 */
#include <dirent.h>
#include <errno.h>
#include <fnmatch.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>
#include <unistd.h>

#include "monitor.h"

#define DEFAULT_FILE "/etc/dlog/dlogd.conf"

enum kind { TEXT, PATH, PATHS, SIZE, NUMBER, TENTHS, RATE };

struct key {
	const char *section, *name;
	enum kind kind;
	size_t offset; /* in struct config, or in the section's own struct */
	uint64_t min, max;
};

#define CFG(field) offsetof(struct config, field)
#define GUEST(field) offsetof(struct guest_config, field)
#define SINK(field) offsetof(struct sink_config, field)

static const struct key keys[] = {
	{ "sources", "regions", PATHS, CFG(regions), 0, 0 },
	{ "sources", "qmp", PATHS, CFG(qmp), 0, 0 },
	{ "sources", "libvirt", TEXT, CFG(libvirt), 0, 0 },
	{ "dlogd", "state-dir", PATH, CFG(state_dir), 0, 0 },
	{ "dlogd", "control", TEXT, CFG(control), 0, 0 },
	{ "incidents", "bundles", PATH, CFG(bundles), 0, 0 },
	{ "incidents", "max", SIZE, CFG(bundles_max), 1, 1000000 },
	{ "incidents", "max-bytes", SIZE, CFG(bundles_bytes), 1, UINT64_MAX },
	{ "incidents", "keep-free", SIZE, CFG(keep_free), 0, UINT64_MAX },
	{ "incidents", "log-lines", SIZE, CFG(log_lines), 1, 1000000000 },
	{ "incidents", "hook", PATH, CFG(hook), 0, 0 },
	{ "incidents", "nmi-wait-ms", NUMBER, CFG(nmi_wait_ms), 0, 60000 },
	{ "hang", "periods", TENTHS, CFG(hang_periods_x10), 15, 10000 },
	{ "limits", "rate", RATE, CFG(rate), 0, INT64_MAX },
	{ "limits", "bytes", RATE, CFG(bytes), 0, INT64_MAX },
	{ "web", "listen", TEXT, CFG(listen), 0, 0 },
	{ "web", "clients", NUMBER, CFG(web_clients), 1, 10000 },
	{ "guest", "region", PATH, GUEST(region), 0, 0 },
	{ "guest", "qmp", PATH, GUEST(qmp), 0, 0 },
	{ "guest", "rate", RATE, GUEST(rate), 0, INT64_MAX },
	{ "guest", "bytes", RATE, GUEST(bytes), 0, INT64_MAX },
	{ "sink", "type", TEXT, SINK(type), 0, 0 },
	{ "sink", "guests", TEXT, SINK(guests), 0, 0 },
};

#define NR_KEYS (sizeof(keys) / sizeof(keys[0]))

static const char *const actions[] = { "nmi", "evidence", "dump", "hook",
				       "reset" };

struct parser {
	struct config *cfg;
	const char *file;
	unsigned int line;
	bool wrong;
	char section[16]; /* "" before the first, "?" in one not known */
	size_t guest, sink; /* index, in [guest] and [sink] */
};

__attribute__((format(printf, 2, 3))) static void mistake(struct parser *p,
							  const char *fmt, ...)
{
	char text[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	log_(LOG_ERR, "%s:%u: %s", p->file, p->line, text);
	p->wrong = true;
}

/* ---- values ---- */

static bool copy_text(struct parser *p, char **to, const char *value)
{
	char *copy = strdup(value);

	if (!copy) {
		mistake(p, "out of memory");
		return false;
	}
	free(*to);
	*to = copy;
	return true;
}

static void free_list(char **list)
{
	for (char **s = list; s && *s; s++)
		free(*s);
	free(list);
}

static void add_path(struct parser *p, char ***list, const char *value)
{
	size_t n = 0;
	char **more;

	if (!*value) {
		free_list(*list);
		*list = NULL;
		return;
	}
	while (*list && (*list)[n])
		n++;
	more = realloc(*list, (n + 2) * sizeof(*more));
	if (!more) {
		mistake(p, "out of memory");
		return;
	}
	*list = more;
	more[n] = more[n + 1] = NULL;
	copy_text(p, &more[n], value);
}

/* A number with K, M, G or T behind it. */
static int get_size(const char *value, uint64_t *v)
{
	static const char units[] = "KMGT";
	const char *unit;
	char *end;

	errno = 0;
	*v = strtoull(value, &end, 10);
	if (*value < '0' || *value > '9' || errno)
		return -EINVAL;
	if (*end) {
		int shift;

		unit = strchr(units, *end);
		if (!unit || (end[1] && strcmp(end + 1, "iB")))
			return -EINVAL;
		shift = 10 * (int)(unit - units + 1);
		if (*v > UINT64_MAX >> shift)
			return -EINVAL;
		*v <<= shift;
	}
	return 0;
}

/* "2" or "2.5", in tenths. */
static int get_tenths(const char *value, uint64_t *v)
{
	char *end;

	errno = 0;
	*v = strtoull(value, &end, 10);
	if (*value < '0' || *value > '9' || errno || *v > UINT32_MAX)
		return -EINVAL;
	*v *= 10;
	if (*end == '.' && end[1] >= '0' && end[1] <= '9' && !end[2]) {
		*v += (uint64_t)(end[1] - '0');
		end += 2;
	}
	return *end ? -EINVAL : 0;
}

static void set_number(struct parser *p, const struct key *k, void *to,
		       const char *value)
{
	uint64_t v = 0;
	int ret;

	if (k->kind == TENTHS)
		ret = get_tenths(value, &v);
	else if (k->kind == RATE && !strcmp(value, "none"))
		ret = 0;
	else
		ret = get_size(value, &v);
	if (ret || v < k->min || v > k->max) {
		mistake(p, "%s = %s: %s", k->name, value,
			k->kind == TENTHS ? "a number from 1.5 up, as in 2.5"
			: k->kind == NUMBER
				? "a number within reason"
				: "a number, with K, M, G or T as in 64M");
		return;
	}
	if (k->kind == NUMBER || k->kind == TENTHS)
		*(uint32_t *)to = (uint32_t)v;
	else if (k->kind == RATE)
		*(int64_t *)to = (int64_t)v;
	else
		*(uint64_t *)to = v;
}

static void set_value(struct parser *p, const struct key *k, void *base,
		      const char *value)
{
	void *to = (char *)base + k->offset;

	if ((k->kind == PATH || k->kind == PATHS) && *value && *value != '/') {
		mistake(p, "%s = %s: an absolute path is needed", k->name,
			value);
		return;
	}
	if (k->kind == PATHS) {
		add_path(p, to, value);
	} else if (k->kind == PATH && !*value) {
		free(*(char **)to);
		*(char **)to = NULL;
	} else if (k->kind == TEXT || k->kind == PATH) {
		copy_text(p, to, value);
	} else {
		set_number(p, k, to, value);
	}
}

/* "nmi evidence hook", "none". */
static void set_policy(struct parser *p, int *to, const char *event,
		       const char *value)
{
	char copy[256], *rest = copy, *word;
	int bits = 0;

	snprintf(copy, sizeof(copy), "%s", value);
	while ((word = strsep(&rest, " \t,"))) {
		size_t i = 0;

		if (!*word || !strcmp(word, "none"))
			continue;
		while (i < 5 && strcmp(word, actions[i]))
			i++;
		if (i == 5) {
			mistake(p,
				"%s = %s: '%s' is no action; there are nmi, evidence, dump, hook, reset, none",
				event, value, word);
			return;
		}
		bits |= 1 << i;
	}
	*to = bits;
}

/* ---- sections ---- */

static bool pattern_ok(const char *name)
{
	size_t n = strspn(name, NAME_CHARS "*?[]!");

	return n && !name[n] && *name != '.' && n <= NAME_MAX_LEN;
}

static void begin_guest(struct parser *p, const char *name)
{
	struct config *cfg = p->cfg;
	struct guest_config *g;

	if (!pattern_ok(name)) {
		mistake(p,
			"[guest %s]: a name is of letters, digits and ._@:+-, or a pattern with * and ?",
			name);
		strcpy(p->section, "?");
		return;
	}
	g = realloc(cfg->guest, (cfg->nr_guests + 1) * sizeof(*g));
	if (!g) {
		mistake(p, "out of memory");
		strcpy(p->section, "?");
		return;
	}
	cfg->guest = g;
	p->guest = cfg->nr_guests++;
	g += p->guest;
	memset(g, 0, sizeof(*g));
	g->rate = g->bytes = -1;
	for (int i = 0; i < EV_NR; i++)
		g->policy[i] = -1;
	copy_text(p, &g->name, name);
}

/* A sink that an earlier file has described goes on. */
static void begin_sink(struct parser *p, const char *name)
{
	struct config *cfg = p->cfg;
	struct sink_config *s;

	if (!name_ok(name)) {
		mistake(p, "[sink %s]: a name is of letters, digits and ._@:+-",
			name);
		strcpy(p->section, "?");
		return;
	}
	for (p->sink = 0; p->sink < cfg->nr_sinks; p->sink++)
		if (!strcmp(cfg->sink[p->sink].name, name))
			return;
	s = realloc(cfg->sink, (cfg->nr_sinks + 1) * sizeof(*s));
	if (!s) {
		mistake(p, "out of memory");
		strcpy(p->section, "?");
		return;
	}
	cfg->sink = s;
	cfg->nr_sinks++;
	s += p->sink;
	memset(s, 0, sizeof(*s));
	s->level = 7;
	s->line = p->line;
	copy_text(p, &s->file, p->file);
	copy_text(p, &s->name, name);
}

static void begin_section(struct parser *p, char *text)
{
	/* A pattern may have brackets of its own. */
	char *end = strrchr(text, ']'), *name;
	bool known = !strcmp(text, "policy]");

	strcpy(p->section, "?");
	if (!end || end[1]) {
		mistake(p, "a section is [NAME] or [guest NAME], [sink NAME]");
		return;
	}
	*end = 0;
	name = text + strcspn(text, " \t");
	if (*name) {
		*name++ = 0;
		name += strspn(name, " \t\"");
		name[strcspn(name, "\"")] = 0;
	}
	for (size_t i = 0; i < NR_KEYS; i++)
		known |= !strcmp(keys[i].section, text);
	if (!known) {
		mistake(p,
			"[%s] is not known; there are dlogd, sources, incidents, hang, policy, limits, web, guest NAME, sink NAME",
			text);
		return;
	}
	snprintf(p->section, sizeof(p->section), "%s", text);
	if (!strcmp(text, "guest"))
		begin_guest(p, name);
	else if (!strcmp(text, "sink"))
		begin_sink(p, name);
	else if (*name)
		mistake(p, "[%s] has no name", text);
}

/* As syslog names them, as dlog-read does, or a number. */
static void set_level(struct parser *p, struct sink_config *s,
		      const char *value)
{
	static const char *const names[] = { "emerg", "alert",	 "crit",
					     "err",   "warning", "notice",
					     "info",  "debug" };

	for (int i = 0; i < 8; i++)
		if (!strcmp(value, names[i]) ||
		    !strcmp(value, dlog_level_name((uint32_t)i)) ||
		    (value[0] == '0' + i && !value[1])) {
			s->level = i;
			return;
		}
	mistake(p, "level = %s: emerg to debug, or 0 to 7", value);
}

static void sink_key(struct parser *p, const char *key, const char *value)
{
	struct sink_config *s = &p->cfg->sink[p->sink];
	void *more;
	size_t i = 0;

	if (!strcmp(key, "level")) {
		set_level(p, s, value);
		return;
	}
	while (i < s->nr_kv && strcmp(s->kv[i].key, key))
		i++;
	if (i == s->nr_kv) {
		more = realloc(s->kv, (i + 1) * sizeof(*s->kv));
		if (!more) {
			mistake(p, "out of memory");
			return;
		}
		s->kv = more;
		s->kv[i].key = s->kv[i].value = NULL;
		s->nr_kv++;
		copy_text(p, &s->kv[i].key, key);
	}
	copy_text(p, &s->kv[i].value, value);
}

static void set_key(struct parser *p, const char *key, const char *value)
{
	struct config *cfg = p->cfg;
	bool guest = !strcmp(p->section, "guest");
	bool sink = !strcmp(p->section, "sink");
	int ev = event_find(key);

	for (size_t i = 0; i < NR_KEYS; i++) {
		if (strcmp(keys[i].section, p->section) ||
		    strcmp(keys[i].name, key))
			continue;
		set_value(p, &keys[i],
			  guest	 ? (void *)&cfg->guest[p->guest]
			  : sink ? (void *)&cfg->sink[p->sink]
				 : (void *)cfg,
			  value);
		return;
	}
	if (sink)
		sink_key(p, key, value);
	else if (ev >= 0 && guest)
		set_policy(p, &cfg->guest[p->guest].policy[ev], key, value);
	else if (ev >= 0 && !strcmp(p->section, "policy"))
		set_policy(p, &cfg->policy[ev], key, value);
	else
		mistake(p, "[%s] has no key '%s'", p->section, key);
}

/* ---- files ---- */

static char *trim(char *s)
{
	char *end;

	s += strspn(s, " \t\r\n");
	end = s + strlen(s);
	while (end > s && strchr(" \t\r\n", end[-1]))
		*--end = 0;
	return s;
}

static void parse_line(struct parser *p, char *line)
{
	char *value;

	line = trim(line);
	if (!*line || *line == '#' || *line == ';')
		return;
	if (*line == '[') {
		begin_section(p, line + 1);
		return;
	}
	value = strchr(line, '=');
	if (!value) {
		mistake(p, "neither [section] nor key = value: %.60s", line);
		return;
	}
	*value++ = 0;
	if (!*p->section)
		mistake(p, "a key before the first [section]");
	else if (strcmp(p->section, "?"))
		set_key(p, trim(line), trim(value));
}

static int parse_file(struct parser *p, const char *file, bool may_miss)
{
	FILE *f = fopen(file, "re");
	char *line = NULL;
	size_t room = 0;

	if (!f) {
		if (errno == ENOENT && may_miss)
			return 0;
		log_(LOG_ERR, "%s: %s", file, strerror(errno));
		return -EINVAL;
	}
	p->file = file;
	p->line = 0;
	*p->section = 0;
	while (getline(&line, &room, f) > 0) {
		p->line++;
		parse_line(p, line);
	}
	if (ferror(f))
		mistake(p, "%s", strerror(errno));
	free(line);
	fclose(f);
	return p->wrong ? -EINVAL : 0;
}

static int is_conf(const struct dirent *e)
{
	const char *dot = strrchr(e->d_name, '.');

	return *e->d_name != '.' && dot && !strcmp(dot, ".conf");
}

static int parse_dropins(struct parser *p, const char *file)
{
	struct dirent **found;
	char path[PATH_MAX];
	int n, ret = 0;

	snprintf(path, sizeof(path), "%s.d", file);
	n = scandir(path, &found, is_conf, alphasort);
	if (n < 0)
		return 0; /* there need be none */
	for (int i = 0; i < n; i++) {
		snprintf(path, sizeof(path), "%s.d/%s", file, found[i]->d_name);
		if (parse_file(p, path, false))
			ret = -EINVAL;
		free(found[i]);
	}
	free(found);
	return ret;
}

/* ---- the whole ---- */

/* Root's places, or the user's own; systemd says where it made them. */
static void default_places(struct config *cfg)
{
	const char *state = getenv("STATE_DIRECTORY");
	const char *run = getenv("RUNTIME_DIRECTORY");
	const char *home = getenv("HOME");
	char path[PATH_MAX];

	if (state && *state == '/')
		cfg->state_dir = strdup(state);
	else if (!geteuid() || !home)
		cfg->state_dir = strdup("/var/lib/dlog");
	else if (snprintf(path, sizeof(path), "%s/.local/state/dlog", home) > 0)
		cfg->state_dir = strdup(path);
	if (run && *run == '/' &&
	    snprintf(path, sizeof(path), "%s/control", run) > 0)
		cfg->control = strdup(path);
	else
		cfg->control = strdup(geteuid() ? "" : "/run/dlog/control");
}

static void defaults(struct config *cfg)
{
	memset(cfg, 0, sizeof(*cfg));
	default_places(cfg);
	cfg->bundles_max = 100;
	cfg->bundles_bytes = UINT64_C(10) << 30;
	cfg->keep_free = UINT64_C(1) << 30;
	cfg->log_lines = 20000;
	cfg->nmi_wait_ms = 500;
	cfg->hang_periods_x10 = 20;
	cfg->listen = strdup("127.0.0.1:9464");
	cfg->web_clients = 32;
	cfg->policy[EV_OOPS] = ACT_EVIDENCE | ACT_HOOK;
	cfg->policy[EV_PANICKED] = ACT_EVIDENCE | ACT_HOOK;
	cfg->policy[EV_CRASH_LOADED] = ACT_EVIDENCE | ACT_HOOK;
	cfg->policy[EV_HUNG] = ACT_NMI | ACT_EVIDENCE | ACT_HOOK;
	cfg->policy[EV_LOCKUP] = ACT_EVIDENCE | ACT_HOOK;
	cfg->policy[EV_WATCHDOG] = ACT_NMI | ACT_EVIDENCE | ACT_HOOK;
	cfg->policy[EV_RESET] = ACT_EVIDENCE | ACT_HOOK;
	cfg->policy[EV_VMM_GONE] = ACT_EVIDENCE | ACT_HOOK;
	cfg->policy[EV_VMM_STUCK] = ACT_EVIDENCE | ACT_HOOK;
}

/* What only the whole can tell; @file for the message. */
static int check(const struct config *cfg, const char *file)
{
	int ret = 0;

	for (size_t i = 0; i < cfg->nr_guests; i++) {
		const struct guest_config *g = &cfg->guest[i];

		if ((g->region || g->qmp) && !name_ok(g->name)) {
			log_(LOG_ERR,
			     "%s: [guest %s]: region and qmp need a name, not a pattern",
			     file, g->name);
			ret = -EINVAL;
		}
	}
	for (size_t i = 0; i < cfg->nr_sinks; i++) {
		const struct sink_config *s = &cfg->sink[i];

		if (!s->type) {
			log_(LOG_ERR, "%s:%u: [sink %s] has no type", s->file,
			     s->line, s->name);
			ret = -EINVAL;
		}
	}
	return ret;
}

int config_load(struct config *cfg, const char *file)
{
	struct parser p = { .cfg = cfg };
	int ret, more;

	defaults(cfg);
	ret = parse_file(&p, file ? file : DEFAULT_FILE, !file);
	more = parse_dropins(&p, file ? file : DEFAULT_FILE);
	if (!ret)
		ret = more;
	if (!ret)
		ret = check(cfg, file ? file : DEFAULT_FILE);
	if (!ret && (!cfg->state_dir || !cfg->control || !cfg->listen))
		ret = -ENOMEM;
	return ret;
}

void config_free(struct config *cfg)
{
	for (size_t i = 0; i < cfg->nr_guests; i++) {
		free(cfg->guest[i].name);
		free(cfg->guest[i].region);
		free(cfg->guest[i].qmp);
	}
	for (size_t i = 0; i < cfg->nr_sinks; i++) {
		struct sink_config *s = &cfg->sink[i];

		for (size_t k = 0; k < s->nr_kv; k++) {
			free(s->kv[k].key);
			free(s->kv[k].value);
		}
		free(s->kv);
		free(s->name);
		free(s->type);
		free(s->guests);
		free(s->file);
	}
	free_list(cfg->regions);
	free_list(cfg->qmp);
	free(cfg->guest);
	free(cfg->sink);
	free(cfg->libvirt);
	free(cfg->state_dir);
	free(cfg->control);
	free(cfg->bundles);
	free(cfg->hook);
	free(cfg->listen);
	memset(cfg, 0, sizeof(*cfg));
}

const char *sink_config_get(const struct sink_config *sc, const char *key)
{
	for (size_t i = 0; i < sc->nr_kv; i++)
		if (!strcmp(sc->kv[i].key, key))
			return sc->kv[i].value;
	return NULL;
}

int config_policy(const struct config *cfg, const char *name, enum event ev)
{
	int bits = cfg->policy[ev];

	for (size_t i = 0; i < cfg->nr_guests; i++)
		if (cfg->guest[i].policy[ev] >= 0 &&
		    !fnmatch(cfg->guest[i].name, name, 0))
			bits = cfg->guest[i].policy[ev];
	return bits;
}

void config_limits(const struct config *cfg, const char *name, int64_t *rate,
		   int64_t *bytes)
{
	*rate = cfg->rate;
	*bytes = cfg->bytes;
	for (size_t i = 0; i < cfg->nr_guests; i++) {
		const struct guest_config *g = &cfg->guest[i];

		if (fnmatch(g->name, name, 0))
			continue;
		if (g->rate >= 0)
			*rate = g->rate;
		if (g->bytes >= 0)
			*bytes = g->bytes;
	}
}
