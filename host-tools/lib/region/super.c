// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * super.c - the superblock of a region: checked once, and copied; everything
 * later computes from the checked copy.
 */
#include <string.h>

#include "internal.h"

static enum dlog_super_error super_at(struct dlog *d, uint64_t off,
				      struct dlog_superblock *sb)
{
	if (dlog_fetch(d, off, sb, sizeof(*sb)))
		return DLOG_SUPER_MAGIC;
	return dlog_super_check(sb, d->size);
}

/*
 * The second copy: at the end of the file, or where the damaged first one
 * says.  Only believed where it says that it is.
 */
static bool super_backup(struct dlog *d)
{
	uint64_t at[] = { d->size - DLOG_PAGE, d->sb.backup_off };
	struct dlog_superblock sb;

	for (size_t i = 0; i < sizeof(at) / sizeof(at[0]); i++) {
		if (super_at(d, at[i], &sb) == DLOG_SUPER_OK &&
		    sb.backup_off == at[i]) {
			d->sb = sb;
			return true;
		}
	}
	return false;
}

static int super_check(struct dlog *d, struct dlog_error *err)
{
	enum dlog_super_error e;

	if (!d->size)
		return dlog_fail(err, -ENODATA,
				 "%s is empty: format it with dlog-create.",
				 d->name);
	if (d->size < DLOG_REGION_MIN)
		return dlog_fail(
			err, -EBADMSG,
			"%s is not a dlog region: it has %llu bytes, "
			"the smallest region has %u; was it cut short?",
			d->name, (unsigned long long)d->size, DLOG_REGION_MIN);
	e = super_at(d, 0, &d->sb);
	if (e == DLOG_SUPER_MAGIC || e == DLOG_SUPER_CHECK) {
		d->backup = super_backup(d);
		if (d->backup)
			e = DLOG_SUPER_OK;
	}
	switch (e) {
	case DLOG_SUPER_OK:
		break;
	case DLOG_SUPER_MAGIC:
		return dlog_fail(err, -EBADMSG,
				 "%s is not a dlog region: it has no "
				 "superblock at its start nor at its end; "
				 "check the path, or format a new file with "
				 "dlog-create.",
				 d->name);
	case DLOG_SUPER_CHECK:
		return dlog_fail(err, -EBADMSG,
				 "%s: both copies of the superblock are "
				 "damaged; without one nothing in the file "
				 "can be told apart; restore a copy of it.",
				 d->name);
	case DLOG_SUPER_INCOMPAT:
		return dlog_fail(err, -EPROTO,
				 "%s has a newer format (incompatible feature "
				 "bits 0x%x): use a newer dlog to read it.",
				 d->name, d->sb.incompat);
	case DLOG_SUPER_SIZE:
		return dlog_fail(err, -ERANGE,
				 "%s has %llu bytes, its superblock says %llu: "
				 "the file was cut short; restore the whole "
				 "file.",
				 d->name, (unsigned long long)d->size,
				 (unsigned long long)d->sb.region_size);
	case DLOG_SUPER_GEOMETRY:
		return dlog_fail(err, -EINVAL,
				 "%s: the superblock contradicts itself; the "
				 "file was not written by dlog-create.",
				 d->name);
	}
	if (d->writable && d->sb.ro_compat & ~DLOG_RO_COMPAT_KNOWN)
		return dlog_fail(err, -EPROTO,
				 "%s has a newer format (feature bits 0x%x) "
				 "that this program may only read: open it "
				 "without writing.",
				 d->name, d->sb.ro_compat);
	return 0;
}

int dlog_super_load(struct dlog *d, struct dlog_error *err)
{
	int ret = super_check(d, err);

	if (ret)
		return ret;
	d->nr_subbufs = (uint32_t)(d->sb.ring_size / d->sb.subbuf_size);
	ret = dlog_table_load(d);
	if (ret)
		dlog_fail(err, ret, "Cannot read the boot table of %s: %s.",
			  d->name, strerror(-ret));
	return ret;
}
