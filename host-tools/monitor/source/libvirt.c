// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * libvirt.c - guests that are libvirt's domains, and what libvirt says of
 * them.
 *
 * One thread runs libvirt's own event loop, connects to the driver that
 * [sources] libvirt= names, and again when libvirtd has gone.  What it hears
 * becomes messages to the main thread, where domains, one for each guest, are
 * looked after.  What libvirt calls an end (libvirt/libvirt-domain.h, and
 * measured with libvirt 9.0 and QEMU 7.2):
 *
 *	panic with a panic device	Crashed Panicked, then by <on_crash>
 *	reboot, triple fault, reset	Reboot, twice
 *	poweroff, virsh destroy		Shutdown, then Stopped
 *	QEMU killed or crashed		Stopped Failed
 *
 * A domain's region is what dlog-virt attached, else the first of its memory
 * files that is a region.  QEMU's own events are kept as history.
 */
#include <errno.h>
#include <jansson.h>
#include <libvirt/libvirt-qemu.h>
#include <libvirt/virterror.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>

#include "../../libvirt/domxml.h"
#include "libvirt.h"

#define BACK_OFF_MIN 500 /* ms between attempts to connect */
#define BACK_OFF_MAX 10000
#define KEEPALIVE 5 /* s, this often without an answer: it is dead */
#define KEEPALIVE_TRIES 3
#define STOP_WAIT 5 /* s */
#define RAW_MAX 1024 /* of QEMU's events, on their way to the main thread */
#define RAW_BYTES 4096u
/* libvirt tells a reset twice. */
#define RESET_TWICE (2 * SECOND)

struct source_libvirt {
	struct monitor *m;
	char *uri;
	pthread_t thread;
	int timer; /* of libvirt's event loop */
	bool stop; /* atomic */
	int raw; /* atomic: messages of QEMU's events under way */
	/* main thread */
	struct domain *domains;
	/* the loop's thread */
	virConnectPtr conn;
	int callbacks[4];
	bool closed; /* the connection is */
	int back_off;
	bool told; /* that there is no libvirtd */
};

/* ---- main thread: domains ---- */

struct domain {
	struct guest *g;
	bool region_ours; /* nobody else had found one */
	bool seen; /* in this listing */
	bool ending; /* its shutdown was told */
	uint64_t reset; /* CLOCK_MONOTONIC of the last, ns */
	struct domain *next;
};

enum what {
	LISTING, /* all there are will follow */
	PRESENT, /* state, region, vm */
	LISTED, /* those were all */
	FORGET, /* undefined */
	HAPPENED, /* ev */
	RESET,
	STOPPED, /* ev, unless its end was told */
	RAW, /* text is JSON */
};

struct msg {
	struct monitor *m;
	enum what what;
	char name[DOMXML_NAME];
	enum event ev;
	int state; /* virDomainState */
	struct vm *vm;
	char *region;
	char *text;
};

static void msg_free(struct msg *msg)
{
	vm_put(msg->vm);
	free(msg->region);
	free(msg->text);
	free(msg);
}

static struct domain *domain_find(struct source_libvirt *s, const char *name,
				  bool make)
{
	struct domain *d;
	struct guest *g;

	for (d = s->domains; d; d = d->next)
		if (!strcmp(d->g->name, name))
			return d;
	g = make ? guest_find(s->m, name, true) : NULL;
	d = g ? calloc(1, sizeof(*d)) : NULL;
	if (!d)
		return NULL;
	d->g = g;
	g->users++;
	d->next = s->domains;
	s->domains = d;
	return d;
}

static void domain_drop(struct source_libvirt *s, struct domain *d)
{
	struct domain **p = &s->domains;

	while (*p != d)
		p = &(*p)->next;
	*p = d->next;
	if (d->region_ours)
		guest_set_region(d->g, NULL);
	d->g->users--;
	free(d);
}

/* Its VMM has ended, @ev says how, unless that is known. */
static void domain_ended(struct domain *d, enum event ev, const char *detail)
{
	if (!d->ending && d->g->alive)
		guest_event(d->g, ev, detail);
	d->ending = false;
	guest_set_vm(d->g, NULL);
}

static void on_present(struct source_libvirt *s, struct msg *msg)
{
	struct domain *d = domain_find(s, msg->name, msg->vm || msg->region);

	if (!d)
		return;
	d->seen = true;
	if (msg->region && (!d->g->region || d->region_ours)) {
		d->region_ours = true;
		guest_set_region(d->g, msg->region);
	} else if (!msg->region && d->region_ours) {
		d->region_ours = false;
		guest_set_region(d->g, NULL);
	}
	if (!msg->vm) {
		domain_ended(d, EV_VMM_GONE, "gone while nobody listened");
		return;
	}
	d->ending = false;
	guest_set_vm(d->g, msg->vm);
	msg->vm = NULL;
	d->g->vm_running = msg->state == VIR_DOMAIN_RUNNING ||
			   msg->state == VIR_DOMAIN_BLOCKED;
	if (msg->state == VIR_DOMAIN_CRASHED)
		guest_event(d->g, EV_PANICKED, "found so in libvirt");
	else if (!d->g->vm_running)
		guest_event(d->g, EV_PAUSED, "found so in libvirt");
}

/* Those that a new listing has not are gone. */
static void on_listed(struct source_libvirt *s)
{
	struct domain *d, *next;

	for (d = s->domains; d; d = next) {
		next = d->next;
		if (d->seen)
			continue;
		domain_ended(d, EV_VMM_GONE, "gone while nobody listened");
		domain_drop(s, d);
	}
}

/* Did the guest's kernel say that it would reboot? */
static void on_reset(struct domain *d)
{
	uint64_t now = clock_ns(CLOCK_MONOTONIC);
	bool again = d->reset && now - d->reset < RESET_TWICE;

	d->reset = now;
	if (again)
		return;
	watch_guest(d->g);
	/* "virsh reboot" is a poweroff by the guest, and a reset for it. */
	if (d->g->d && guest_end_announced(d->g))
		guest_event(d->g, EV_REBOOT, NULL);
	else
		guest_event(d->g, EV_RESET, NULL);
}

static void on_happened(struct domain *d, enum event ev, const char *detail)
{
	/* Part of a start: PRESENT is under way and says more. */
	if (!d->g->vm && (ev == EV_PAUSED || ev == EV_RESUMED))
		return;
	if (ev == EV_PAUSED || ev == EV_PANICKED)
		d->g->vm_running = false;
	if (ev == EV_RESUMED) {
		d->g->vm_running = true;
		d->g->resumed = clock_ns(CLOCK_MONOTONIC);
	}
	if (ev == EV_SHUTDOWN)
		d->ending = true;
	guest_event(d->g, ev, detail);
}

static void in_main(void *arg)
{
	struct msg *msg = arg;
	struct source_libvirt *s = msg->m->libvirt;
	struct domain *d = s && msg->name[0] ? domain_find(s, msg->name, false)
					     : NULL;

	if (s && msg->what == RAW)
		__atomic_sub_fetch(&s->raw, 1, __ATOMIC_RELAXED);
	if (!s) {
		/* the source has been stopped meanwhile */
	} else if (msg->what == LISTING) {
		for (d = s->domains; d; d = d->next)
			d->seen = false;
	} else if (msg->what == PRESENT) {
		on_present(s, msg);
	} else if (msg->what == LISTED) {
		on_listed(s);
	} else if (!d) {
		/* an event of a domain that is no guest */
	} else if (msg->what == FORGET) {
		if (!d->g->vm)
			domain_drop(s, d);
	} else if (msg->what == HAPPENED) {
		on_happened(d, msg->ev, msg->text);
	} else if (msg->what == RESET) {
		on_reset(d);
	} else if (msg->what == STOPPED) {
		domain_ended(d, msg->ev, msg->text);
	} else if (msg->what == RAW) {
		guest_history(d->g, msg->text, strlen(msg->text));
	}
	msg_free(msg);
}

/* ---- the loop's thread: messages ---- */

static struct msg *msg_new(struct source_libvirt *s, enum what what,
			   virDomainPtr dom)
{
	struct msg *msg = calloc(1, sizeof(*msg));
	char uuid[VIR_UUID_STRING_BUFLEN] = "";

	if (!msg)
		return NULL;
	msg->m = s->m;
	msg->what = what;
	if (dom) {
		virDomainGetUUIDString(dom, uuid);
		domxml_name(msg->name, virDomainGetName(dom), uuid);
	}
	return msg;
}

static void post(struct source_libvirt *s, struct msg *msg)
{
	if (!msg)
		return;
	/* Nobody waits any more for a thread that libvirtd held up. */
	if (__atomic_load_n(&s->stop, __ATOMIC_ACQUIRE) ||
	    monitor_post(msg->m, in_main, msg))
		msg_free(msg);
}

static void post_event(struct source_libvirt *s, enum what what,
		       virDomainPtr dom, enum event ev, const char *detail)
{
	struct msg *msg = msg_new(s, what, dom);

	if (!msg)
		return;
	msg->ev = ev;
	msg->text = detail ? strdup(detail) : NULL;
	post(s, msg);
}

/* The domain's region: a path to be free()d, or NULL. */
static char *find_region(const struct domxml *x)
{
	struct dlog_error err;
	struct dlog *d;

	for (size_t i = 0; i < x->nr_files; i++) {
		if (dlog_open(&d, x->files[i], 0, &err))
			continue;
		dlog_close(d);
		return strdup(x->files[i]);
	}
	/* Attached, but damaged or missing: whoever opens it says why. */
	return x->path ? strdup(x->path) : NULL;
}

/* Tell what @dom is now; @started: just now, so it is not paused. */
static void post_present(struct source_libvirt *s, virDomainPtr dom,
			 bool started)
{
	struct msg *msg = msg_new(s, PRESENT, dom);
	char *xml = virDomainGetXMLDesc(dom, 0);
	xmlDoc *doc = xml ? domxml_parse(xml, strlen(xml)) : NULL;
	struct domxml x;
	int reason;

	free(xml);
	if (!msg || !doc)
		goto out;
	if (!domxml_read(&x, doc)) {
		msg->region = find_region(&x);
		domxml_free(&x);
	}
	if (virDomainIsActive(dom) == 1) {
		msg->state = VIR_DOMAIN_RUNNING;
		if (!started)
			virDomainGetState(dom, &msg->state, &reason, 0);
		msg->vm = libvirt_vm(dom, s->uri);
	}
	post(s, msg);
	msg = NULL;
out:
	if (msg)
		msg_free(msg);
	xmlFreeDoc(doc);
}

/* ---- the loop's thread: what libvirt says ---- */

static void on_stopped(struct source_libvirt *s, virDomainPtr dom, int detail)
{
	static const struct {
		enum event ev;
		const char *detail;
	} ends[] = {
		[VIR_DOMAIN_EVENT_STOPPED_SHUTDOWN] = { EV_SHUTDOWN, NULL },
		[VIR_DOMAIN_EVENT_STOPPED_DESTROYED] = { EV_SHUTDOWN,
							 "destroyed" },
		[VIR_DOMAIN_EVENT_STOPPED_CRASHED] = { EV_SHUTDOWN,
						       "stopped by libvirt "
						       "after its crash" },
		[VIR_DOMAIN_EVENT_STOPPED_MIGRATED] = { EV_SHUTDOWN,
							"migrated to another "
							"host" },
		[VIR_DOMAIN_EVENT_STOPPED_SAVED] = { EV_SHUTDOWN, "saved" },
		[VIR_DOMAIN_EVENT_STOPPED_FAILED] = { EV_VMM_GONE,
						      "QEMU has died" },
		[VIR_DOMAIN_EVENT_STOPPED_FROM_SNAPSHOT] = { EV_SHUTDOWN,
							     "reverted to a "
							     "snapshot" },
	};
	size_t i = (size_t)detail;

	if (i >= sizeof(ends) / sizeof(*ends))
		i = VIR_DOMAIN_EVENT_STOPPED_FAILED;
	post_event(s, STOPPED, dom, ends[i].ev, ends[i].detail);
	if (virDomainIsPersistent(dom) != 1)
		post(s, msg_new(s, FORGET, dom));
}

static int on_lifecycle(virConnectPtr conn, virDomainPtr dom, int event,
			int detail, void *arg)
{
	struct source_libvirt *s = arg;

	(void)conn;
	switch (event) {
	case VIR_DOMAIN_EVENT_DEFINED:
	case VIR_DOMAIN_EVENT_STARTED:
		post_present(s, dom, event == VIR_DOMAIN_EVENT_STARTED);
		break;
	case VIR_DOMAIN_EVENT_UNDEFINED:
		post(s, msg_new(s, FORGET, dom));
		break;
	case VIR_DOMAIN_EVENT_SUSPENDED:
		post_event(s, HAPPENED, dom, EV_PAUSED,
			   detail == VIR_DOMAIN_EVENT_SUSPENDED_IOERROR
				   ? "after an I/O error"
				   : NULL);
		break;
	case VIR_DOMAIN_EVENT_PMSUSPENDED:
		post_event(s, HAPPENED, dom, EV_PAUSED, "suspended by itself");
		break;
	case VIR_DOMAIN_EVENT_RESUMED:
		post_event(s, HAPPENED, dom, EV_RESUMED, NULL);
		break;
	case VIR_DOMAIN_EVENT_SHUTDOWN:
		post_event(s, HAPPENED, dom, EV_SHUTDOWN,
			   detail == VIR_DOMAIN_EVENT_SHUTDOWN_HOST
				   ? "asked by the host"
			   : detail == VIR_DOMAIN_EVENT_SHUTDOWN_GUEST
				   ? "by the guest"
				   : NULL);
		break;
	case VIR_DOMAIN_EVENT_STOPPED:
		on_stopped(s, dom, detail);
		break;
	case VIR_DOMAIN_EVENT_CRASHED:
		post_event(s, HAPPENED, dom,
			   detail == VIR_DOMAIN_EVENT_CRASHED_CRASHLOADED
				   ? EV_CRASH_LOADED
				   : EV_PANICKED,
			   "pvpanic");
		break;
	}
	return 0;
}

static void on_reboot(virConnectPtr conn, virDomainPtr dom, void *arg)
{
	(void)conn;
	post(arg, msg_new(arg, RESET, dom));
}

static void on_watchdog(virConnectPtr conn, virDomainPtr dom, int action,
			void *arg)
{
	static const char *const actions[] = {
		[VIR_DOMAIN_EVENT_WATCHDOG_NONE] = "action none",
		[VIR_DOMAIN_EVENT_WATCHDOG_PAUSE] = "action pause",
		[VIR_DOMAIN_EVENT_WATCHDOG_RESET] = "action reset",
		[VIR_DOMAIN_EVENT_WATCHDOG_POWEROFF] = "action poweroff",
		[VIR_DOMAIN_EVENT_WATCHDOG_SHUTDOWN] = "action shutdown",
		[VIR_DOMAIN_EVENT_WATCHDOG_DEBUG] = "action debug",
		[VIR_DOMAIN_EVENT_WATCHDOG_INJECTNMI] = "action inject-nmi",
	};
	size_t i = (size_t)action;

	(void)conn;
	post_event(arg, HAPPENED, dom, EV_WATCHDOG,
		   i < sizeof(actions) / sizeof(*actions) ? actions[i] : NULL);
}

/* An event as QEMU's own monitor would show it; @details is QEMU's JSON. */
static char *raw_json(const char *event, long long seconds, unsigned int micros,
		      const char *details)
{
	size_t len = details ? strlen(details) : 0;
	json_t *data = len && len <= RAW_BYTES
			       ? json_loadb(details, len, 0, NULL)
			       : NULL;
	json_t *all = json_pack("{s:{s:I,s:i},s:s,s:o*}", "timestamp",
				"seconds", (json_int_t)seconds, "microseconds",
				(int)micros, "event", event, "data", data);
	char *text = all ? json_dumps(all, JSON_COMPACT) : NULL;

	json_decref(all);
	return text;
}

/* A guest can make these as fast as it likes. */
static void on_raw(virConnectPtr conn, virDomainPtr dom, const char *event,
		   long long seconds, unsigned int micros, const char *details,
		   void *arg)
{
	struct source_libvirt *s = arg;
	struct msg *msg;

	(void)conn;
	if (__atomic_load_n(&s->raw, __ATOMIC_RELAXED) >= RAW_MAX)
		return;
	msg = msg_new(s, RAW, dom);
	if (!msg)
		return;
	msg->text = raw_json(event, seconds, micros, details);
	if (!msg->text) {
		msg_free(msg);
		return;
	}
	__atomic_add_fetch(&s->raw, 1, __ATOMIC_RELAXED);
	post(s, msg);
}

static void on_close(virConnectPtr conn, int reason, void *arg)
{
	struct source_libvirt *s = arg;

	(void)conn, (void)reason;
	s->closed = true;
}

/* ---- the loop's thread: connection ---- */

virConnectPtr libvirt_open(const char *uri)
{
	virConnectPtr conn = virConnectOpen(uri);

	if (conn)
		virConnectSetKeepAlive(conn, KEEPALIVE, KEEPALIVE_TRIES);
	return conn;
}

static void subscribe(struct source_libvirt *s)
{
	int *id = s->callbacks;

	id[0] = virConnectDomainEventRegisterAny(
		s->conn, NULL, VIR_DOMAIN_EVENT_ID_LIFECYCLE,
		VIR_DOMAIN_EVENT_CALLBACK(on_lifecycle), s, NULL);
	id[1] = virConnectDomainEventRegisterAny(
		s->conn, NULL, VIR_DOMAIN_EVENT_ID_REBOOT,
		VIR_DOMAIN_EVENT_CALLBACK(on_reboot), s, NULL);
	id[2] = virConnectDomainEventRegisterAny(
		s->conn, NULL, VIR_DOMAIN_EVENT_ID_WATCHDOG,
		VIR_DOMAIN_EVENT_CALLBACK(on_watchdog), s, NULL);
	/* Does not taint a domain, as a monitor command would. */
	id[3] = virConnectDomainQemuMonitorEventRegister(s->conn, NULL, NULL,
							 on_raw, s, NULL, 0);
	if (id[0] < 0 || id[1] < 0)
		log_(LOG_ERR, "%s: no events: %s", s->uri,
		     virGetLastErrorMessage());
}

static void list(struct source_libvirt *s)
{
	virDomainPtr *all = NULL;
	int n = virConnectListAllDomains(s->conn, &all, 0);

	if (n < 0) {
		log_(LOG_ERR, "%s: cannot list the domains: %s", s->uri,
		     virGetLastErrorMessage());
		return;
	}
	post(s, msg_new(s, LISTING, NULL));
	for (int i = 0; i < n; i++) {
		post_present(s, all[i], false);
		virDomainFree(all[i]);
	}
	free(all);
	post(s, msg_new(s, LISTED, NULL));
}

static void connect_libvirt(struct source_libvirt *s)
{
	s->closed = false;
	s->conn = libvirt_open(s->uri);
	if (!s->conn) {
		if (!s->told)
			log_(LOG_WARNING, "%s: %s; it is tried again", s->uri,
			     virGetLastErrorMessage());
		s->told = true;
		return;
	}
	log_(LOG_INFO, "%s: connected", s->uri);
	s->told = false;
	s->back_off = BACK_OFF_MIN;
	virConnectRegisterCloseCallback(s->conn, on_close, s, NULL);
	/* Events first: what happens meanwhile is in the list or comes. */
	subscribe(s);
	list(s);
}

static void disconnect(struct source_libvirt *s)
{
	if (!s->conn)
		return;
	for (int i = 0; i < 3; i++)
		if (s->callbacks[i] >= 0)
			virConnectDomainEventDeregisterAny(s->conn,
							   s->callbacks[i]);
	if (s->callbacks[3] >= 0)
		virConnectDomainQemuMonitorEventDeregister(s->conn,
							   s->callbacks[3]);
	virConnectUnregisterCloseCallback(s->conn, on_close);
	virConnectClose(s->conn);
	s->conn = NULL;
}

/* Time to connect again, or to stop: the loop looks. */
static void on_timer(int timer, void *arg)
{
	struct source_libvirt *s = arg;

	virEventUpdateTimeout(timer, -1);
	if (__atomic_load_n(&s->stop, __ATOMIC_ACQUIRE) || s->conn)
		return;
	connect_libvirt(s);
	if (!s->conn) {
		virEventUpdateTimeout(timer, s->back_off);
		s->back_off *= 2;
		if (s->back_off > BACK_OFF_MAX)
			s->back_off = BACK_OFF_MAX;
	}
}

static void *loop(void *arg)
{
	struct source_libvirt *s = arg;

	while (!__atomic_load_n(&s->stop, __ATOMIC_ACQUIRE)) {
		if (virEventRunDefaultImpl() < 0)
			break;
		if (!s->closed)
			continue;
		log_(LOG_WARNING,
		     "%s: the connection is lost; libvirt's "
		     "domains are not watched until it is back",
		     s->uri);
		disconnect(s);
		s->closed = false;
		virEventUpdateTimeout(s->timer, BACK_OFF_MIN);
	}
	disconnect(s);
	return NULL;
}

/* ---- life ---- */

/* libvirt prints errors by itself otherwise. */
static void silent(void *arg, virErrorPtr error)
{
	(void)arg, (void)error;
}

int source_libvirt_start(struct monitor *m)
{
	struct source_libvirt *s;
	int ret;

	if (!m->cfg.libvirt || !*m->cfg.libvirt)
		return 0;
	s = calloc(1, sizeof(*s));
	if (!s)
		return -ENOMEM;
	s->m = m;
	s->uri = strdup(m->cfg.libvirt);
	s->back_off = BACK_OFF_MIN;
	virSetErrorFunc(NULL, silent);
	if (!s->uri || virInitialize() || virEventRegisterDefaultImpl()) {
		ret = -ENOMEM;
		goto err;
	}
	s->timer = virEventAddTimeout(0, on_timer, s, NULL);
	ret = s->timer < 0 ? -ENOMEM
			   : -pthread_create(&s->thread, NULL, loop, s);
	if (ret)
		goto err;
	m->libvirt = s;
	return 0;
err:
	log_(LOG_ERR, "%s: cannot be watched: %s", m->cfg.libvirt,
	     strerror(-ret));
	free(s->uri);
	free(s);
	return ret;
}

void source_libvirt_stop(struct monitor *m)
{
	struct source_libvirt *s = m->libvirt;
	struct timespec until;

	if (!s)
		return;
	m->libvirt = NULL;
	__atomic_store_n(&s->stop, true, __ATOMIC_RELEASE);
	virEventUpdateTimeout(s->timer, 0);
	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += STOP_WAIT;
	while (s->domains) {
		/* Guests stay as they are: dlogd ends, not they. */
		s->domains->region_ours = false;
		domain_drop(s, s->domains);
	}
	/* One that waits for a libvirtd that hangs ends with the process. */
	if (pthread_timedjoin_np(s->thread, NULL, &until))
		return;
	virEventRemoveTimeout(s->timer);
	free(s->uri);
	free(s);
}
