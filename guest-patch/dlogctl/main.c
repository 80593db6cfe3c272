// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * main.c - dlogctl: the flight recorder from inside the guest.
 *
 * dlogctl(8) is the reference.
 */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ctl.h"
#include "linux/dlog.h"

#define PROGRAM "dlogctl"

enum { EXIT_OK = 0, EXIT_FAILED = 1, EXIT_USAGE = 2 };

/* What a command does with its words; -EUSERS: they are no use of it. */
#define WRONG_USAGE (-EUSERS)

struct command {
	const char *name, *plural;
	const char *options; /* letters of those it takes */
	int (*run)(const struct command *c, struct words *w,
		   const struct options *o, struct sink *out,
		   struct dlog_error *err);
	uint32_t show; /* what the driver lists for it */
	const char *key; /* column that a glob is compared with */
	const char *help;
};

/* ---- options ---- */

enum value { NO_VALUE, VALUE, MAYBE_VALUE };

static const struct {
	const char *name;
	char letter; /* lower case: also "-x" on the command line */
	enum value value;
	size_t offset;
} option_table[] = {
#define OPTION(letter, name, value)                                            \
	{                                                                      \
#name, letter, value, offsetof(struct options, name)           \
	}
	OPTION('j', json, NO_VALUE),	  OPTION('s', set, VALUE),
	OPTION('c', consumer, VALUE),	  OPTION('o', off, NO_VALUE),
	OPTION('P', print, NO_VALUE),	  OPTION('a', all, NO_VALUE),
	OPTION('A', available, NO_VALUE), OPTION('n', lines, VALUE),
	OPTION('b', boot, MAYBE_VALUE),	  OPTION('l', level, VALUE),
	OPTION('h', help, NO_VALUE),	  OPTION('V', version, NO_VALUE),
#undef OPTION
};

#define OPTIONS (sizeof(option_table) / sizeof(*option_table))

/* Is @word an option?  Its number, and what stands behind it in the word. */
static int option_find(const char *word, const char **value)
{
	*value = NULL;
	for (size_t i = 0; i < OPTIONS; i++) {
		size_t n = strlen(option_table[i].name);

		if (!strncmp(word, "--", 2) &&
		    !strncmp(word + 2, option_table[i].name, n) &&
		    (!word[2 + n] || word[2 + n] == '=')) {
			*value = word[2 + n] ? word + 3 + n : NULL;
			return (int)i;
		}
		if (word[0] == '-' && word[1] == option_table[i].letter &&
		    strchr("jnblhV", word[1])) {
			*value = word[2] ? word + 2 : NULL;
			return (int)i;
		}
	}
	return -1;
}

/* "-5" and "-8(%bp)" are words. */
static bool looks_like_option(const char *word)
{
	return word[0] == '-' &&
	       (isalpha((unsigned char)word[1]) ||
		(word[1] == '-' && isalpha((unsigned char)word[2])));
}

/* Is @word, which may not be there, the value of the option before it? */
static bool takes_next(enum value value, const char *word)
{
	char *end;

	if (!word || value != MAYBE_VALUE)
		return word && value == VALUE;
	strtol(word, &end, 10);
	return *word && !*end;
}

int options_take(struct words *w, const char *allowed, struct options *o,
		 struct dlog_error *err)
{
	int kept = 0, i, n;
	const char *value;

	for (i = 0; i < w->n && strcmp(w->word[i], "--"); i++) {
		if (!looks_like_option(w->word[i])) {
			w->word[kept++] = w->word[i];
			continue;
		}
		n = option_find(w->word[i], &value);
		if (n < 0 || !strchr(allowed, option_table[n].letter))
			return fail(err, WRONG_USAGE, "%s is no option here",
				    w->word[i]);
		if (value && option_table[n].value == NO_VALUE)
			return fail(err, WRONG_USAGE, "--%s takes no value",
				    option_table[n].name);
		if (!value && takes_next(option_table[n].value,
					 i + 1 < w->n ? w->word[i + 1] : NULL))
			value = w->word[++i];
		if (!value && option_table[n].value == VALUE)
			return fail(err, WRONG_USAGE, "--%s needs a value",
				    option_table[n].name);
		*(const char **)((char *)o + option_table[n].offset) =
			value ? value : "";
	}
	for (i++; i < w->n; i++)
		w->word[kept++] = w->word[i];
	w->n = kept;
	return 0;
}

int words_join(const struct words *w, char *to, size_t size,
	       struct dlog_error *err)
{
	size_t len = 0;

	*to = '\0';
	for (int i = 0; i < w->n; i++) {
		size_t n = strlen(w->word[i]);

		if (size - len < n + 2)
			return fail(err, -E2BIG, "more than %zu bytes", size);
		if (i)
			to[len++] = ' ';
		memcpy(to + len, w->word[i], n + 1);
		len += n;
	}
	return 0;
}

/* ---- commands ---- */

static int list(const struct command *c, const struct words *w,
		const struct options *o, struct sink *out,
		struct dlog_error *err)
{
	char *text;
	int ret;

	if (w->n > 1)
		return WRONG_USAGE;
	ret = device_show(c->show, &text, err);
	if (ret)
		return ret;
	ret = table_show(out, text, o, c->key, w->n ? w->word[0] : NULL);
	free(text);
	return ret ? fail(err, ret, "no memory for a list") : 0;
}

/* Takes "list" away if it is there: is a list wanted? */
static bool wants_list(struct words *w, bool plural)
{
	if (w->n && !strcmp(w->word[0], "list")) {
		w->n--;
		w->word++;
		return true;
	}
	return plural || !w->n;
}

int switch_run(const struct words *w, const char *set, struct dlog_error *err)
{
	struct sink text = { .fd = -1 };
	int n = w->n, ret;

	if (n > 3 && !strncmp(w->word[n - 1], "set=", 4))
		set = w->word[--n] + 4;
	if (set && (!*set || strpbrk(set, " \t\n;#")))
		return fail(err, -EINVAL, "'%s' is no name of a set", set);
	for (int i = 2; i < n; i++) {
		if (!*w->word[i] || strpbrk(w->word[i], " \t\n;#")) {
			sink_free(&text);
			return fail(err, -EINVAL,
				    "'%s': a name has no blanks, ';' or '#'",
				    w->word[i]);
		}
		sink_printf(&text, "%s %s %s%s%s\n", w->word[0], w->word[1],
			    w->word[i], set ? " set=" : "", set ? set : "");
	}
	sink_putc(&text, '\0');
	ret = text.error ? fail(err, text.error, "no memory")
			 : device_run(text.buf, err);
	sink_free(&text);
	return ret;
}

/* The words as they are: the driver's command. */
static int run_driver(const struct words *w, struct dlog_error *err)
{
	char text[4096];
	int ret = words_join(w, text, sizeof(text), err);

	return ret ?: device_run(text, err);
}

bool switch_is(const struct words *w)
{
	return w->n > 2 &&
	       (!strcmp(w->word[1], "on") || !strcmp(w->word[1], "off"));
}

static bool is_plural(const struct command *c, const char *said)
{
	return c->plural && !strcmp(said, c->plural);
}

/* event on|off GLOB..., function on|off GLOB... */
static int run_switch(const struct command *c, struct words *w,
		      const struct options *o, struct sink *out,
		      struct dlog_error *err)
{
	struct words rest = { w->n - 1, w->word + 1 };

	if (wants_list(&rest, is_plural(c, w->word[0]))) {
		if (o->set)
			return WRONG_USAGE;
		if (o->available)
			return tracefs_list(out, o, rest.n ? rest.word[0] : "*",
					    err);
		return list(c, &rest, o, out, err);
	}
	return switch_is(w) ? switch_run(w, o->set, err) : WRONG_USAGE;
}

/* set arm|disarm NAME...: in one request, so that one instant is possible. */
static int run_set(const struct command *c, struct words *w,
		   const struct options *o, struct sink *out,
		   struct dlog_error *err)
{
	struct words rest = { w->n - 1, w->word + 1 };

	if (wants_list(&rest, is_plural(c, w->word[0])))
		return list(c, &rest, o, out, err);
	return rest.n < 2 ? WRONG_USAGE : run_driver(w, err);
}

/* consumer add|remove EVENT CONSUMER [PRIORITY] */
static int run_consumer(const struct command *c, struct words *w,
			const struct options *o, struct sink *out,
			struct dlog_error *err)
{
	struct words rest = { w->n - 1, w->word + 1 };
	bool add, removed;

	if (wants_list(&rest, is_plural(c, w->word[0])))
		return list(c, &rest, o, out, err);
	add = !strcmp(rest.word[0], "add");
	removed = !strcmp(rest.word[0], "remove");
	if ((!add && !removed) || rest.n < 3 || rest.n > 3 + add)
		return WRONG_USAGE;
	return run_driver(w, err);
}

static int run_probe(const struct command *c, struct words *w,
		     const struct options *o, struct sink *out,
		     struct dlog_error *err)
{
	struct words rest = { w->n - 1, w->word + 1 };
	const char *verb;

	if (wants_list(&rest, is_plural(c, w->word[0])))
		return rest.n > 1
			       ? WRONG_USAGE
			       : probe_list(out, o,
					    rest.n ? rest.word[0] : NULL, err);
	verb = rest.word[0];
	rest = (struct words){ w->n - 2, w->word + 2 };
	if (!strcmp(verb, "add"))
		return rest.n ? probe_add(&rest, o, false, err) : WRONG_USAGE;
	if (!strcmp(verb, "remove"))
		return probe_remove(&rest, o, err);
	return WRONG_USAGE;
}

/* start, stop, level N: the driver's own words. */
static int run_words(const struct command *c, struct words *w,
		     const struct options *o, struct sink *out,
		     struct dlog_error *err)
{
	(void)o;
	(void)out;
	if (w->n != (strcmp(c->name, "level") ? 1 : 2))
		return WRONG_USAGE;
	return run_driver(w, err);
}

static int run_status(const struct command *c, struct words *w,
		      const struct options *o, struct sink *out,
		      struct dlog_error *err)
{
	(void)c;
	return w->n > 1 ? WRONG_USAGE : status_show(out, o, err);
}

static int run_messages(const struct command *c, struct words *w,
			const struct options *o, struct sink *out,
			struct dlog_error *err)
{
	(void)c;
	return w->n > 1 ? WRONG_USAGE : messages_show(out, o, err);
}

static int run_mark(const struct command *c, struct words *w,
		    const struct options *o, struct sink *out,
		    struct dlog_error *err)
{
	struct words rest = { w->n - 1, w->word + 1 };

	(void)c;
	(void)out;
	return rest.n ? mark(&rest, o, err) : WRONG_USAGE;
}

static int run_apply(const struct command *c, struct words *w,
		     const struct options *o, struct sink *out,
		     struct dlog_error *err)
{
	(void)c;
	(void)o;
	(void)out;
	return w->n == 2 ? apply_file(w->word[1], err) : WRONG_USAGE;
}

/* ---- help ---- */

static const struct command commands[] = {
	{ .name = "status",
	  .options = "j",
	  .run = run_status,
	  .help = "status [--json]\n"
		  "    The driver, its region and its rings.\n" },
	{ .name = "start",
	  .options = "",
	  .run = run_words,
	  .help = "start\n"
		  "stop\n"
		  "    Record, or do not.\n" },
	{ .name = "stop", .options = "", .run = run_words },
	{ .name = "level",
	  .options = "",
	  .run = run_words,
	  .help = "level N\n"
		  "    Record printk's lines of level 0 (emergency) to N: 7 "
		  "(debug), 8 (all).\n" },
	{ .name = "event",
	  .plural = "events",
	  .options = "jsA",
	  .run = run_switch,
	  .show = DLOG_SHOW_EVENTS,
	  .key = "name",
	  .help = "events [--json] [GLOB]\n"
		  "event on|off [--set=NAME] GLOB...\n"
		  "    List events, record them or do not.  GLOB is "
		  "SYSTEM:EVENT with * and ?.\n"
		  "    --available lists those that the kernel has.\n" },
	{ .name = "function",
	  .plural = "functions",
	  .options = "j",
	  .run = run_switch,
	  .show = DLOG_SHOW_FUNCTIONS,
	  .key = "filter",
	  .help = "functions [--json]\n"
		  "function on|off GLOB...\n"
		  "    Record each call of the kernel's functions called "
		  "so.\n" },
	{ .name = "probe",
	  .plural = "probes",
	  .options = "ja" PROBE_OPTIONS,
	  .run = run_probe,
	  .help = "probes [--json] [GLOB]\n"
		  "probe add [OPTION]... 'NAME FUNC[+OFF][%return] ARG...'\n"
		  "probe add [OPTION]... 'NAME /PROGRAM:SYMBOL[+OFF][%return] "
		  "ARG...'\n"
		  "probe remove NAME... | --all\n"
		  "    Place probes on the running kernel and its programs.  "
		  "ARG is\n"
		  "    [FIELD=]VALUE[:TYPE], VALUE as arg1, ret, %ax, "
		  "+8(arg1), TYPE as u32, x64,\n"
		  "    string, symbol (docs/probes.md).\n"
		  "    --set=NAME            put it into a set, armed with it\n"
		  "    --consumer=NAME[:PRIORITY]\n"
		  "                          stack: record the call stack, too\n"
		  "    --off                 place it, but do not record it\n"
		  "    --print               only show what the kernel would "
		  "be told\n" },
	{ .name = "consumer",
	  .plural = "consumers",
	  .options = "j",
	  .run = run_consumer,
	  .show = DLOG_SHOW_CONSUMERS,
	  .key = "event",
	  .help = "consumers [--json] [EVENT]\n"
		  "consumer add EVENT CONSUMER [PRIORITY]\n"
		  "consumer remove EVENT CONSUMER\n"
		  "    What is called at an event, highest priority first.\n" },
	{ .name = "set",
	  .plural = "sets",
	  .options = "j",
	  .run = run_set,
	  .show = DLOG_SHOW_SETS,
	  .key = "name",
	  .help = "sets [--json]\n"
		  "set arm|disarm NAME... [arm|disarm NAME...]\n"
		  "    Switch all events of all these sets on all CPUs at one "
		  "instant.\n" },
	{ .name = "messages",
	  .options = "jnb",
	  .run = run_messages,
	  .help = "messages [-n N] [-b [N]] [--json]\n"
		  "    The text in the region, of earlier boots, too.\n"
		  "    -n, --lines=N         only the last N messages\n"
		  "    -b, --boot[=N]        one boot: 1 is the first, 0 "
		  "this one (default),\n"
		  "                          -1 the one before it\n" },
	{ .name = "mark",
	  .options = "l",
	  .run = run_mark,
	  .help = "mark [-l N] TEXT...\n"
		  "    Put TEXT into the log.\n"
		  "    -l, --level=N         0 to 7, default 6\n" },
	{ .name = "apply",
	  .options = "",
	  .run = run_apply,
	  .help = "apply FILE\n"
		  "    Run the commands in FILE, one a line.\n" },
};

#define COMMANDS (sizeof(commands) / sizeof(*commands))

static const struct command *command_find(const char *name)
{
	for (size_t i = 0; i < COMMANDS; i++)
		if (!strcmp(name, commands[i].name) ||
		    (commands[i].plural && !strcmp(name, commands[i].plural)))
			return &commands[i];
	return NULL;
}

static void help(const struct command *only)
{
	if (!only)
		puts("Usage: " PROGRAM " COMMAND [OPTION]... [WORD]...\n"
		     "The flight recorder, from inside the guest.\n");
	for (size_t i = 0; i < COMMANDS; i++)
		if (commands[i].help && (!only || only == &commands[i]))
			fputs(commands[i].help, stdout);
	if (!only)
		puts("\n"
		     "  -j, --json     one JSON object a line\n"
		     "  -h, --help     this, or one command's\n"
		     "  -V, --version\n"
		     "\n"
		     "Exit status: 0 done, 1 failed, 2 wrong usage.");
}

/* ---- main ---- */

static int usage(const char *why)
{
	fprintf(stderr, PROGRAM ": %s: see " PROGRAM " --help\n", why);
	return EXIT_USAGE;
}

static int run(const struct command *c, struct words *w,
	       const struct options *o)
{
	struct dlog_error err = { "" };
	struct sink out;
	int ret;

	if (sink_init(&out, STDOUT_FILENO)) {
		fputs(PROGRAM ": no memory\n", stderr);
		return EXIT_FAILED;
	}
	ret = c->run(c, w, o, &out, &err);
	if (!ret && (sink_flush(&out) || fflush(stdout)))
		ret = fail(&err, -EIO, "cannot write the output: %s",
			   strerror(out.error ? -out.error : errno));
	sink_free(&out);
	if (!ret)
		return EXIT_OK;
	if (ret == WRONG_USAGE && !*err.text) {
		fprintf(stderr,
			PROGRAM ": wrong usage of %s: see " PROGRAM
				" %s --help\n",
			c->name, c->name);
		return EXIT_USAGE;
	}
	fprintf(stderr, PROGRAM ": %s\n", err.text);
	return EXIT_FAILED;
}

int main(int argc, char **argv)
{
	struct words w = { argc - 1, argv + 1 };
	const struct command *c = argc > 1 ? command_find(argv[1]) : NULL;
	struct options o = { 0 };
	char allowed[32] = "hV";
	struct dlog_error err;

	if (c)
		strcat(allowed, c->options);
	if (argc > 1 && !c && *argv[1] != '-') {
		snprintf(err.text, sizeof(err.text), "'%s' is no command",
			 argv[1]);
		return usage(err.text);
	}
	if (options_take(&w, allowed, &o, &err))
		return usage(err.text);
	if (o.version) {
		puts(PROGRAM " " DLOG_VERSION);
		return EXIT_OK;
	}
	if (o.help) {
		/* "stop" is told with "start". */
		help(c && !c->help ? c - 1 : c);
		return EXIT_OK;
	}
	if (!c)
		return usage("no command");
	return run(c, &w, &o);
}
