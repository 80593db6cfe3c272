// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * libvirt_vm.c - ask a libvirt domain: registers, NMI, dump, reset.
 *
 * libvirt's calls have no time limit of their own: each runs in a thread of
 * its own, with a connection of its own, and who waits for it longer than
 * asked for goes away without it.  The thread ends when libvirt answers or
 * the connection's keepalive finds libvirtd dead; CALLS_MAX bounds how many a
 * domain can have.
 */
#include <errno.h>
#include <inttypes.h>
#include <libvirt/libvirt-qemu.h>
#include <libvirt/virterror.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>
#include <time.h>

#include "../../libvirt/domxml.h"
#include "json.h"
#include "libvirt.h"

#define CALLS_MAX 8
#define TEXT_MAX ((size_t)4 << 20)

struct libvirt_vm {
	struct vm vm;
	char *uri, *name;
	unsigned char uuid[VIR_UUID_BUFLEN];
	int calls; /* atomic: threads that run */
};

/* One question; freed by whoever is last to look at it. */
struct call {
	struct libvirt_vm *vm; /* a reference */
	int (*ask)(virDomainPtr dom, struct call *call);
	char *text; /* path to be dumped to, or the answer */
	uint64_t number;
	int ret;
	pthread_mutex_t lock;
	pthread_cond_t finished;
	bool done, abandoned;
};

static void call_free(struct call *c)
{
	pthread_mutex_destroy(&c->lock);
	pthread_cond_destroy(&c->finished);
	vm_put(&c->vm->vm);
	free(c->text);
	free(c);
}

/* What libvirt said last, as one of the errors that vm_ops has. */
static int explain(const struct libvirt_vm *vm)
{
	virErrorPtr e = virGetLastError();

	log_(LOG_WARNING, "guest %s: libvirt: %s", vm->name,
	     virGetLastErrorMessage());
	switch (e ? e->code : VIR_ERR_INTERNAL_ERROR) {
	case VIR_ERR_NO_DOMAIN:
	case VIR_ERR_NO_CONNECT:
	case VIR_ERR_RPC:
	case VIR_ERR_OPERATION_INVALID: /* it does not run */
		return -ENOTCONN;
	case VIR_ERR_NO_SUPPORT:
	case VIR_ERR_OPERATION_UNSUPPORTED:
		return -EOPNOTSUPP;
	case VIR_ERR_OPERATION_TIMEOUT:
		return -ETIMEDOUT;
	default:
		return -EIO;
	}
}

static void *call_thread(void *arg)
{
	struct call *c = arg;
	virConnectPtr conn = libvirt_open(c->vm->uri);
	virDomainPtr dom = conn ? virDomainLookupByUUID(conn, c->vm->uuid)
				: NULL;
	int ret = dom ? c->ask(dom, c) : -1;
	bool last;

	/* Each ask() gives libvirt's -1, or its own errno. */
	if (ret == -1)
		ret = explain(c->vm);
	if (dom)
		virDomainFree(dom);
	if (conn)
		virConnectClose(conn);
	__atomic_sub_fetch(&c->vm->calls, 1, __ATOMIC_RELAXED);
	pthread_mutex_lock(&c->lock);
	c->ret = ret;
	c->done = true;
	last = c->abandoned;
	pthread_cond_signal(&c->finished);
	pthread_mutex_unlock(&c->lock);
	if (last)
		call_free(c);
	return NULL;
}

static int call_begin(struct call *c)
{
	pthread_attr_t attr;
	pthread_t thread;
	int ret;

	if (__atomic_add_fetch(&c->vm->calls, 1, __ATOMIC_RELAXED) >
	    CALLS_MAX) {
		__atomic_sub_fetch(&c->vm->calls, 1, __ATOMIC_RELAXED);
		return -ETIMEDOUT;
	}
	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	ret = -pthread_create(&thread, &attr, call_thread, c);
	pthread_attr_destroy(&attr);
	if (ret)
		__atomic_sub_fetch(&c->vm->calls, 1, __ATOMIC_RELAXED);
	return ret;
}

/* Wait for the answer; true if it came in time. */
static bool call_wait(struct call *c, int timeout_ms)
{
	struct timespec until;
	bool done;
	int ret = 0;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += timeout_ms / 1000;
	until.tv_nsec += timeout_ms % 1000 * 1000000l;
	if (until.tv_nsec >= 1000000000) {
		until.tv_nsec -= 1000000000;
		until.tv_sec++;
	}
	pthread_mutex_lock(&c->lock);
	while (!c->done && !ret)
		ret = pthread_cond_timedwait(&c->finished, &c->lock, &until);
	done = c->done;
	c->abandoned = !done;
	pthread_mutex_unlock(&c->lock);
	return done;
}

/*
 * Run @ask within @timeout_ms.  @text goes in as a copy; what is in its place
 * afterwards is given to *answer, the number to *number, where these are not
 * NULL.
 */
static int ask(struct vm *vm, int (*fn)(virDomainPtr dom, struct call *call),
	       const char *text, char **answer, uint64_t *number,
	       int timeout_ms)
{
	struct call *c = calloc(1, sizeof(*c));
	pthread_condattr_t attr;
	int ret;

	if (!c)
		return -ENOMEM;
	c->vm = (struct libvirt_vm *)vm_get(vm);
	c->ask = fn;
	pthread_mutex_init(&c->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&c->finished, &attr);
	pthread_condattr_destroy(&attr);
	c->text = text ? strdup(text) : NULL;
	ret = text && !c->text ? -ENOMEM : call_begin(c);
	if (!ret && !call_wait(c, timeout_ms))
		return -ETIMEDOUT; /* its thread frees it */
	if (!ret)
		ret = c->ret;
	if (!ret && answer) {
		*answer = c->text;
		c->text = NULL;
	}
	if (!ret && number)
		*number = c->number;
	call_free(c);
	return ret;
}

/* ---- the questions ---- */

static int ask_status(virDomainPtr dom, struct call *c)
{
	static const char *const names[] = {
		[VIR_DOMAIN_NOSTATE] = "unknown",
		[VIR_DOMAIN_RUNNING] = "running",
		[VIR_DOMAIN_BLOCKED] = "running",
		[VIR_DOMAIN_PAUSED] = "paused",
		[VIR_DOMAIN_SHUTDOWN] = "shutdown",
		[VIR_DOMAIN_SHUTOFF] = NULL,
		[VIR_DOMAIN_CRASHED] = "guest-panicked",
		[VIR_DOMAIN_PMSUSPENDED] = "suspended",
	};
	int state, reason;

	if (virDomainGetState(dom, &state, &reason, 0))
		return -1;
	if (state < 0 || state > VIR_DOMAIN_PMSUSPENDED || !names[state])
		return -ENOTCONN;
	c->text = strdup(names[state]);
	return c->text ? 0 : -ENOMEM;
}

static int vm_status(struct vm *vm, char *state, size_t size, int timeout_ms)
{
	char *text;
	int ret = ask(vm, ask_status, NULL, &text, NULL, timeout_ms);

	if (ret)
		return ret;
	snprintf(state, size, "%s", text);
	free(text);
	return 0;
}

static int ask_nmi(virDomainPtr dom, struct call *c)
{
	(void)c;
	return virDomainInjectNMI(dom, 0);
}

static int vm_nmi(struct vm *vm, int timeout_ms)
{
	return ask(vm, ask_nmi, NULL, NULL, NULL, timeout_ms);
}

static int ask_registers(virDomainPtr dom, struct call *c)
{
	if (virDomainQemuMonitorCommand(dom, "info registers -a", &c->text,
					VIR_DOMAIN_QEMU_MONITOR_COMMAND_HMP))
		return -1;
	if (c->text && strlen(c->text) > TEXT_MAX)
		c->text[TEXT_MAX] = '\0';
	return c->text ? 0 : -EIO;
}

static int vm_registers(struct vm *vm, char **text, int timeout_ms)
{
	return ask(vm, ask_registers, NULL, text, NULL, timeout_ms);
}

static void put_version(struct json *j, const char *key, unsigned long v)
{
	char text[64];

	snprintf(text, sizeof(text), "%lu.%lu.%lu", v / 1000000,
		 v / 1000 % 1000, v % 1000);
	json_key(j, key);
	json_text(j, text);
}

/* An attribute of the domain's XML, if it has it. */
static void put_attribute(struct json *j, xmlDoc *doc, const char *key,
			  const char *xpath, const char *attribute)
{
	xmlNode *node = domxml_find(doc, xpath);
	xmlChar *text = node ? xmlGetNoNsProp(node, BAD_CAST attribute) : NULL;

	if (text) {
		json_key(j, key);
		json_text(j, (char *)text);
	}
	xmlFree(text);
}

static int ask_describe(virDomainPtr dom, struct call *c)
{
	virConnectPtr conn = virDomainGetConnect(dom);
	char uuid[VIR_UUID_STRING_BUFLEN] = "";
	char *xml = virDomainGetXMLDesc(dom, 0);
	unsigned long v;
	struct sink s;
	struct json j = { .s = &s };
	xmlDoc *doc;

	if (!xml)
		return -1;
	doc = domxml_parse(xml, strlen(xml));
	free(xml);
	if (!doc || sink_init(&s, -1)) {
		xmlFreeDoc(doc);
		return -EIO;
	}
	virDomainGetUUIDString(dom, uuid);
	json_open(&j, '{');
	json_key(&j, "domain");
	json_text(&j, virDomainGetName(dom));
	json_key(&j, "uuid");
	json_text(&j, uuid);
	if (!virConnectGetVersion(conn, &v))
		put_version(&j, "qemu", v);
	if (!virConnectGetLibVersion(conn, &v))
		put_version(&j, "libvirt", v);
	put_attribute(&j, doc, "accelerator", "/domain", "type");
	put_attribute(&j, doc, "machine", "/domain/os/type", "machine");
	put_attribute(&j, doc, "arch", "/domain/os/type", "arch");
	json_close(&j, '}');
	sink_putc(&s, '\0');
	xmlFreeDoc(doc);
	c->text = s.error ? NULL : strdup(s.buf);
	sink_free(&s);
	return c->text ? 0 : -ENOMEM;
}

static int vm_describe(struct vm *vm, char **json, int timeout_ms)
{
	return ask(vm, ask_describe, NULL, json, NULL, timeout_ms);
}

/* libvirtd writes the file: it is root's. */
static int ask_dump(virDomainPtr dom, struct call *c)
{
	return virDomainCoreDumpWithFormat(dom, c->text,
					   VIR_DOMAIN_CORE_DUMP_FORMAT_RAW,
					   VIR_DUMP_MEMORY_ONLY);
}

static int vm_dump(struct vm *vm, const char *path, int timeout_ms)
{
	return ask(vm, ask_dump, path, NULL, NULL, timeout_ms);
}

static int ask_memory(virDomainPtr dom, struct call *c)
{
	virDomainInfo info;

	if (virDomainGetInfo(dom, &info))
		return -1;
	c->number = (uint64_t)info.maxMem << 10;
	return 0;
}

static int vm_memory(struct vm *vm, uint64_t *bytes, int timeout_ms)
{
	return ask(vm, ask_memory, NULL, NULL, bytes, timeout_ms);
}

static int ask_reset(virDomainPtr dom, struct call *c)
{
	(void)c;
	return virDomainReset(dom, 0);
}

static int vm_reset(struct vm *vm, int timeout_ms)
{
	return ask(vm, ask_reset, NULL, NULL, NULL, timeout_ms);
}

static int ask_cont(virDomainPtr dom, struct call *c)
{
	(void)c;
	return virDomainResume(dom);
}

static int vm_cont(struct vm *vm, int timeout_ms)
{
	return ask(vm, ask_cont, NULL, NULL, NULL, timeout_ms);
}

static void vm_free(struct vm *vm)
{
	struct libvirt_vm *v = (struct libvirt_vm *)vm;

	free(v->uri);
	free(v->name);
	free(v);
}

static const struct vm_ops libvirt_ops = {
	.kind = "libvirt",
	.status = vm_status,
	.inject_nmi = vm_nmi,
	.registers = vm_registers,
	.describe = vm_describe,
	.dump = vm_dump,
	.memory = vm_memory,
	.reset = vm_reset,
	.cont = vm_cont,
	.free = vm_free,
};

/* QEMU's process, as libvirtd on this host writes it down. */
static pid_t vmm_pid(const char *name, const char *uri)
{
	char path[512];
	int pid = 0;
	FILE *f;

	if (strcmp(uri, "qemu:///system"))
		return 0;
	snprintf(path, sizeof(path), "/run/libvirt/qemu/%s.pid", name);
	f = fopen(path, "re");
	if (!f)
		return 0;
	if (fscanf(f, "%d", &pid) != 1)
		pid = 0;
	fclose(f);
	return pid;
}

struct vm *libvirt_vm(virDomainPtr dom, const char *uri)
{
	struct libvirt_vm *v = calloc(1, sizeof(*v));

	if (!v)
		return NULL;
	v->vm = (struct vm){ .ops = &libvirt_ops, .refs = 1 };
	v->uri = strdup(uri);
	v->name = strdup(virDomainGetName(dom));
	if (!v->uri || !v->name || virDomainGetUUID(dom, v->uuid)) {
		vm_free(&v->vm);
		return NULL;
	}
	v->vm.pid = vmm_pid(v->name, uri);
	return &v->vm;
}
