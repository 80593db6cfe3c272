/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * monitor.h - dlogd: what its parts share.
 *
 *	sources  ->  guests  ->  incidents     (main thread, sd-event)
 *	               |             `-> bundle workers (a thread each)
 *	               |-> sinks              (a thread each, forward/)
 *	               `-> web, metrics       (main thread, web/)
 *
 * A *guest* is a name.  What is known of it by that name (region file, QMP
 * socket, libvirt domain) may come and go; the guest stays, with its history.
 * *Sources* find these and report events.  guest.c decides from them, from the
 * region's state page and from heartbeats (watch.c) what state the guest is in
 * and whether something has happened that the operator's *policy* wants acted
 * upon: an *incident*.  incident/ acts: NMI, evidence in a bundle directory,
 * memory dump, reset, hook.
 *
 * *Sinks* forward records.  Each is a thread that reads the regions itself,
 * from a cursor of its own, and may block: the backlog is the ring, and no sink
 * waits for another.
 *
 * Threads: unless said otherwise a function is called from the main thread,
 * which never blocks on a guest, a VMM, a sink or a slow disk.  Everything
 * that comes from a guest or a VMM is hostile: bounded, and escaped by each
 * place that shows it.
 *
 * Errors: 0 or a negative errno; log_() says what, which file, what to do.
 */
#ifndef DLOG_MONITOR_H
#define DLOG_MONITOR_H

#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/types.h>
#include <systemd/sd-event.h>
#include <time.h>

#include "dlog.h"
#include "dlog_abi.h"

#define PROGRAM "dlogd"
#define MS UINT64_C(1000000) /* in ns */
#define SECOND UINT64_C(1000000000)
#define NAME_MAX_LEN 127u
#define NAME_CHARS                                                             \
	"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"                 \
	"0123456789._@:+-"

/* Of a guest, a sink or a bundle: also the name of a file or directory. */
static inline bool name_ok(const char *name)
{
	size_t n = strspn(name, NAME_CHARS);

	return n && !name[n] && *name != '.' && n <= NAME_MAX_LEN;
}

struct monitor;
struct guest;

/* ---- log.c: what dlogd says of itself ---- */

/*
 * One line: to stderr with a systemd priority prefix under systemd, else
 * "dlogd: ..." .  Escapes control characters.  Any thread.  @level: LOG_ERR,
 * LOG_WARNING, LOG_NOTICE, LOG_INFO, LOG_DEBUG of syslog.h.
 */
__attribute__((format(printf, 2, 3))) void log_(int level, const char *fmt,
						...);
extern int log_max; /* LOG_INFO; LOG_DEBUG with -v, LOG_WARNING with -q */
uint64_t clock_ns(clockid_t clock);

/* ---- what can happen to a guest ---- */

enum event {
	EV_STARTED, /* its VMM has been found */
	EV_BOOTED, /* a kernel's driver began a boot in the region */
	EV_OOPS, /* and goes on */
	EV_PANICKED,
	EV_CRASH_LOADED, /* it panicked and goes into its crash kernel */
	EV_HUNG, /* heartbeats of some or all CPUs have stopped */
	EV_LOCKUP, /* the guest says: soft or hard lockup, hung task */
	EV_RECOVERED, /* they are back */
	EV_WATCHDOG, /* the VMM's watchdog device has fired */
	EV_RESET, /* without having been asked by the guest's kernel */
	EV_REBOOT, /* the guest's own: status said reboot or kexec */
	EV_SHUTDOWN, /* orderly: poweroff, or asked by the host */
	EV_VMM_GONE, /* killed or crashed, no shutdown before */
	EV_VMM_STUCK, /* it does not answer */
	EV_PAUSED,
	EV_RESUMED,
	EV_LOST, /* its region file is gone */
	EV_NR
};

/* "panicked", "crash-loaded", "vmm-gone": in config, JSON, metrics, paths. */
const char *event_name(enum event ev);
int event_find(const char *name); /* or -1 */

enum state {
	ST_UNKNOWN, /* nothing says */
	ST_OFF,
	ST_BOOTING, /* VMM runs, no driver yet */
	ST_RUNNING,
	ST_PAUSED, /* also migrating, saving */
	ST_HUNG,
	ST_PANICKED,
	ST_NR
};
const char *state_name(enum state st);

/* ---- config.c ---- */

/* What to do on an event; in this order. */
enum action {
	ACT_NMI = 1, /* inject an NMI: the driver writes registers, stacks */
	ACT_EVIDENCE = 2, /* bundle */
	ACT_DUMP = 4, /* guest memory into the bundle */
	ACT_HOOK = 8, /* run cfg->hook */
	ACT_RESET = 16, /* system_reset (and cont when paused) */
};

/* One [guest NAME] section, NAME may be a glob; later sections win. */
struct guest_config {
	char *name; /* as written */
	char *region, *qmp; /* paths, NULL: by the sources */
	int policy[EV_NR]; /* enum action bits; -1: as [policy] says */
	int64_t rate, bytes; /* per second, forwarded by each sink; 0: no limit,
			      * -1: as [limits] says */
};

/* One [sink NAME] section. */
struct sink_config {
	char *name;
	char *type; /* "json", "journal", "syslog", "nats" */
	char *guests; /* glob, NULL: all */
	int level; /* forward this level and more urgent, 7: all */
	/* type's own keys, in order: sink_config_get() */
	struct {
		char *key, *value;
	} * kv;
	size_t nr_kv;
	char *file; /* where the section began, for messages */
	unsigned int line;
};

/* Value of @key, or NULL. */
const char *sink_config_get(const struct sink_config *sc, const char *key);

struct config {
	/* [sources] */
	char **regions; /* directories; NULL-terminated; *.img */
	char **qmp; /* directories of sockets NAME.qmp */
	char *libvirt; /* URI, NULL: none */
	/* [dlogd] */
	char *state_dir; /* /var/lib/dlog: cursors/ */
	char *control; /* /run/dlog/control, "" none */
	/* [incidents] */
	char *bundles; /* /var/lib/dlog/incidents */
	uint64_t bundles_max, bundles_bytes; /* 100, 10 GiB */
	uint64_t keep_free; /* bytes that stay free on that disk, 1 GiB */
	uint64_t log_lines; /* records in log.txt and log.json, 20000 */
	char *hook; /* program, NULL */
	uint32_t nmi_wait_ms; /* for registers after an NMI, at most: 500 */
	/* [hang] */
	uint32_t hang_periods_x10; /* missed heartbeat periods, 20 = 2.0 */
	/* [policy] */
	int policy[EV_NR];
	/* [limits] */
	int64_t rate, bytes;
	/* [web] */
	char *listen; /* "127.0.0.1:9464", "" none */
	uint32_t web_clients;

	struct guest_config *guest;
	size_t nr_guests;
	struct sink_config *sink;
	size_t nr_sinks;
};

/*
 * Defaults, then @file (NULL: /etc/dlog/dlogd.conf, which may be missing),
 * then FILE.d/ *.conf in the order of their names.  Every mistake is told with
 * file and line; -EINVAL after the last.
 */
int config_load(struct config *cfg, const char *file);
void config_free(struct config *cfg);
/* Actions on @ev for the guest called @name. */
int config_policy(const struct config *cfg, const char *name, enum event ev);
void config_limits(const struct config *cfg, const char *name, int64_t *rate,
		   int64_t *bytes);

/* ---- vm: a running VMM that can be asked (qmp.c, source/libvirt.c) ---- */

struct vm;
struct vm_ops {
	const char *kind; /* "qmp", "libvirt" */
	/*
	 * Blocking, from worker threads only, each with a time limit of
	 * @timeout_ms; -ETIMEDOUT, -ENOTCONN (it has gone), -EOPNOTSUPP, -EIO
	 * with the VMM's own words in the log.  Texts are free()d by the
	 * caller and at most 4 MiB.
	 */
	/* @state is "running", or any other word when it does not run. */
	int (*status)(struct vm *vm, char *state, size_t size, int timeout_ms);
	int (*inject_nmi)(struct vm *vm, int timeout_ms);
	int (*registers)(struct vm *vm, char **text, int timeout_ms);
	/* "VMM version, machine, ..." as JSON */
	int (*describe)(struct vm *vm, char **json, int timeout_ms);
	/* ELF dump of guest memory into the new file @path; waits for it. */
	int (*dump)(struct vm *vm, const char *path, int timeout_ms);
	int (*memory)(struct vm *vm, uint64_t *bytes, int timeout_ms);
	int (*reset)(struct vm *vm, int timeout_ms);
	int (*cont)(struct vm *vm, int timeout_ms);
	/* Last reference gone. */
	void (*free)(struct vm *vm);
};

/* Begins each implementation's own struct. */
struct vm {
	const struct vm_ops *ops;
	int refs; /* atomic */
	pid_t pid; /* of the VMM if it is a local process, else 0 */
};

struct vm *vm_get(struct vm *vm); /* one more reference; any thread */
void vm_put(struct vm *vm);

/* ---- guest.c ---- */

#define HISTORY 64u /* events of its VMM that are remembered */

struct history_entry {
	uint64_t real; /* ns since 1970 */
	char *json; /* one event as the VMM or libvirt gave it, one line */
};

/* Heartbeat watch of one CPU (watch.c). */
struct pulse {
	uint64_t beats; /* last seen count */
	uint64_t changed; /* CLOCK_MONOTONIC ns when it last changed */
	bool online, stale;
};

struct guest {
	struct monitor *m;
	char *name;
	char *region; /* path, NULL: none known */
	struct dlog *d; /* main thread's own, NULL: not open */
	uint8_t uuid[16];
	struct vm *vm; /* NULL: no VMM that can be asked */
	enum state state;
	uint64_t state_since; /* real, ns */
	uint32_t boot; /* newest that is known */
	struct dlog_live live; /* the state page when last looked at */
	bool vm_running; /* what the VMM last said */
	bool shutdown_seen; /* an orderly end was announced */
	uint64_t resumed; /* CLOCK_MONOTONIC ns: heartbeats count from here */
	struct pulse *pulse;
	uint32_t nr_pulses, stale_cpus;
	struct history_entry history[HISTORY];
	uint32_t nr_history; /* ever; entry n is history[n % HISTORY] */
	/* so that one death is one incident */
	uint32_t incident_boot;
	uint32_t incident_mask; /* bit for each enum event of that boot */
	uint32_t recoveries; /* in that boot */
	uint64_t counts[EV_NR]; /* for metrics */
	bool bad; /* region cannot be read: said once */
	char why_bad[256];
	struct guest *next;
	uint32_t users; /* sources that hold it: not to be forgotten */
	bool alive; /* its VMM is there, as far as anything says so */
	bool rebooting; /* reset: no heartbeats until a new boot begins */
	uint64_t reset; /* CLOCK_MONOTONIC ns: since when */
	dev_t dev; /* of the open region file */
	ino_t ino;
	/* no more than so many events of one guest are told in a while */
	uint64_t quota_from;
	uint32_t quota_used;
	uint64_t look_due; /* watch.c: CLOCK_MONOTONIC ns of the next look */
	struct watched *watched; /* watch.c's own, while the region is open */
};

/*
 * The guest called @name, made if it is new.  NULL: bad name or no memory.
 * Guests are of the main thread; when there are very many, one that has had
 * neither region nor VMM for the longest time is forgotten: nobody keeps a
 * pointer to a guest but its sources, over a return to the loop.
 */
struct guest *guest_find(struct monitor *m, const char *name, bool make);
/* Region @path appears or changes; NULL: it is gone.  Opens it. */
int guest_set_region(struct guest *g, const char *path);
/* Its region goes on under the path it has: reopen when it was replaced. */
int guest_reopen(struct guest *g);
/* A VMM that can be asked appears (takes the caller's reference), or NULL. */
void guest_set_vm(struct guest *g, struct vm *vm);
/*
 * Something was reported or detected.  @detail: one line for people, may be
 * NULL.  Updates the state, tells (log, sinks, web), and by policy starts an
 * incident, unless the same was already one in this boot.
 */
void guest_event(struct guest *g, enum event ev, const char *detail);
/* Its state anew, from what the status word and its VMM say. */
void guest_refresh(struct guest *g);
/* Nobody has its region in use; or with @doubt, nothing shows what it does. */
void guest_set_off(struct guest *g, bool doubt);
void guests_free(struct monitor *m);
/* Has its kernel said, by the status word, that it goes? */
bool guest_end_announced(const struct guest *g);
/* Keep a VMM's event for bundles. */
void guest_history(struct guest *g, const char *json, size_t len);

/* ---- watch.c ---- */

int watch_start(struct monitor *m);
void watch_stop(struct monitor *m);
/* Look at one guest's state page and heartbeats now. */
void watch_guest(struct guest *g);
/* Its region is another one, or it is forgotten. */
void watch_forget(struct guest *g);
/* Another VMM: no heart has beaten in it yet. */
void hang_forgive(struct guest *g);

/* ---- qmp.c, source/ ---- */

/*
 * Connect to the QMP socket @path for @g; from then on events are reported
 * by guest_event().  Reconnects with back-off (0.1 s to 5 s, at once when the
 * socket's inode changes) until qmp_close().
 */
struct qmp;
int qmp_open(struct qmp **out, struct guest *g, const char *path);
void qmp_close(struct qmp *q);
/* Its socket was made anew: connect at once. */
void qmp_retry(struct qmp *q);
/* Connected, or about to find out whether its VMM has gone. */
bool qmp_busy(const struct qmp *q);

int source_files_start(struct monitor *m); /* directories, [guest] sections */
void source_files_rescan(struct monitor *m);
void source_files_stop(struct monitor *m);
int source_libvirt_start(struct monitor *m);
void source_libvirt_stop(struct monitor *m);
int control_start(struct monitor *m); /* the hook's datagrams */
void control_stop(struct monitor *m);

/*
 * Run @fn(@arg) in the main thread soon; from any thread.  0 or -errno:
 * -ESHUTDOWN when dlogd ends and @fn will not be run.
 */
int monitor_post(struct monitor *m, void (*fn)(void *arg), void *arg);

/* ---- incident/ ---- */

struct incident {
	char *id; /* "20261121T174413.123Z-panicked-b3": the bundle's name */
	char *guest, *detail;
	enum event ev;
	uint32_t boot;
	uint64_t real; /* when it was noticed */
	char *bundle; /* absolute path; NULL: none was wanted */
	uint64_t bytes;
	bool complete; /* bundle is on disk */
	char *error; /* what could not be done, NULL */
	struct incident *next; /* newest first */
};

/* The configuration is another one: bounds are taken from it. */
void incidents_reload(struct monitor *m);
int incidents_start(struct monitor *m); /* also reads what bundles exist */
void incidents_stop(struct monitor *m); /* waits for workers, bounded */
/*
 * The configuration is another one: its bounds hold from now on.  Incidents at
 * hand go on with what was so when they began; cfg.bundles must be the same.
 */
void incidents_reload(struct monitor *m);
/* Act on @ev by @actions (enum action); returns at once. */
int incident_begin(struct guest *g, enum event ev, int actions,
		   const char *detail);
/* Newest first; main thread only, valid until it returns to the loop. */
const struct incident *incidents_list(struct monitor *m);

/* ---- forward/ ---- */

/* Are all [sink] sections good?  0, or -EINVAL after messages. */
int forward_check(const struct config *cfg);
int forward_start(struct monitor *m); /* a thread for each [sink] */
/*
 * Within 5 s; cursors are on disk.  How many threads would not end and are left
 * behind: these save no cursor any more, but still use m->cfg's sinks.
 */
int forward_stop(struct monitor *m);
/* The list of guests or their regions has changed. */
void forward_guests_changed(struct monitor *m);
/* A message of dlogd's own (event, incident): every sink tells it too. */
void forward_tell(struct monitor *m, const struct guest *g, enum event ev,
		  const char *detail, const struct incident *inc);

struct sink_stats {
	const char *name, *type;
	bool up;
	char why[256]; /* it is down */
	uint64_t records, bytes, errors, connects;
	uint64_t missed; /* overwritten before, or too large for the receiver */
	uint64_t throttled_ns;
};
/* Of sink @i: 1, or 0 when there are no more. */
int forward_stats(struct monitor *m, size_t i, struct sink_stats *st);
/* The same for one guest in one sink: records, bytes, missed only. */
int forward_guest_stats(struct monitor *m, size_t i, const struct guest *g,
			struct sink_stats *st);

/* ---- web/ ---- */

int web_start(struct monitor *m);
void web_stop(struct monitor *m);
/* Something that the page shows has changed. */
void web_changed(struct monitor *m, const struct guest *g);
/* @g is about to be freed: nothing of the page may know it any more. */
void web_forget(struct monitor *m, const struct guest *g);

/* ---- main.c ---- */

struct monitor {
	struct config cfg;
	sd_event *loop;
	struct guest *guests; /* by name */
	uint32_t nr_guests;
	uint64_t started; /* real, ns */
	/* each part's own */
	struct watch *watch;
	struct source_files *files;
	struct source_libvirt *libvirt;
	struct control *control;
	struct incidents *incidents;
	struct forward *forward;
	struct web *web;
	struct posts *posts;
};

#endif
