/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * dlog_watch.h - what is said on the socket FILE.watch beside a region FILE.
 *
 * A stream socket.  Who waits for the next record of the region sends ASK;
 * more of them before the answer are one.  The answer is ARMED: from now on
 * the next store will be told; what was stored before may be there already,
 * so look once more.  STORE tells it, once, a moment before its record is
 * whole: ask again, and look again.  Whoever closes will tell nothing more.
 */
#ifndef DLOG_WATCH_H
#define DLOG_WATCH_H

#define DLOG_WATCH_SUFFIX ".watch"

#define DLOG_WATCH_ASK 'a'
#define DLOG_WATCH_ARMED 'A'
#define DLOG_WATCH_STORE 'W'

#endif
