// SPDX-License-Identifier: GPL-2.0-only
/*
 * sysfs.c - /sys/class/misc/dlog/: one value a file.
 */
#include <linux/device.h>
#include <linux/module.h>
#include <linux/sysfs.h>

#include "dlog_names.h"
#include "driver.h"

#define DLOG_ATTR(name, fmt, ...)                                              \
	static ssize_t name##_show(struct device *dev,                         \
				   struct device_attribute *attr, char *buf)   \
	{                                                                      \
		return sysfs_emit(buf, fmt "\n", ##__VA_ARGS__);               \
	}                                                                      \
	static DEVICE_ATTR_RO(name)

DLOG_ATTR(address, "%pa", &dlog.place.start);
DLOG_ATTR(size, "%llu", dlog.region.sb.region_size);
DLOG_ATTR(placement, "%s", dlog.place.how);
DLOG_ATTR(memory_type, "%s", dlog_name_memtype(dlog.place.memtype));
DLOG_ATTR(uuid, "%pUb", dlog.region.sb.uuid);
DLOG_ATTR(label, "%.*s", (int)sizeof(dlog.region.sb.label),
	  dlog.region.sb.label);
DLOG_ATTR(boot, "%u", dlog.region.boot);
DLOG_ATTR(status, "%s", dlog_name_status(READ_ONCE(dlog.status)));
DLOG_ATTR(recording, "%d", dlog_recording());
DLOG_ATTR(printk_source, "%s", dlog_kmsg_source());
DLOG_ATTR(heartbeat_ms, "%u", dlog.period_ms);
DLOG_ATTR(clock_error_ns, "%d", dlog_clock_error());

/* "ring position records dropped", one ring a line. */
static ssize_t rings_show(struct device *dev, struct device_attribute *attr,
			  char *buf)
{
	int len = 0;

	for (u32 i = 0; i < dlog.region.sb.nr_rings; i++) {
		u64 position, records;

		dlog_ring_tell(&dlog.rings[i], &position, &records);
		len += sysfs_emit_at(buf, len, "%u %llu %llu %llu\n", i,
				     position, records,
				     dlog_read64(&dlog.rings[i].dropped));
	}
	return len;
}
static DEVICE_ATTR_RO(rings);

static struct attribute *dlog_attrs[] = {
	&dev_attr_address.attr,	     &dev_attr_size.attr,
	&dev_attr_placement.attr,    &dev_attr_memory_type.attr,
	&dev_attr_uuid.attr,	     &dev_attr_label.attr,
	&dev_attr_boot.attr,	     &dev_attr_status.attr,
	&dev_attr_recording.attr,    &dev_attr_printk_source.attr,
	&dev_attr_heartbeat_ms.attr, &dev_attr_clock_error_ns.attr,
	&dev_attr_rings.attr,	     NULL,
};

static const struct attribute_group dlog_group = {
	.attrs = dlog_attrs,
};

const struct attribute_group *dlog_sysfs_groups[] = {
	&dlog_group,
	NULL,
};
