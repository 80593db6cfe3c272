#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Guests that trace at full speed and are killed: what the ring holds of each
CPU is what happened, to the last event.

tests/scenarios/module/dlogtruth.c keeps the last events of each CPU in a second
file.  It is called before the driver, for the same events and functions, so
the newest of the truth may be missing in the ring: one for each context that
was in the middle of it.  Nothing else may be.
"""

import collections
import os
import random
import struct
import sys
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from lib.case import case, main  # noqa: E402 (needs the path above)
from lib.world import BUILD, FIND_ORACLE, World, entries  # noqa: E402

AREA, SLOTS, SLOT, KEPT = 192 * 1024, 1024, 128, 104
MEMORY = 64 * 1024  # in the oracle's file, behind what dlogtest.c uses
EVENT, FUNCTION = 1, 2
CONTEXTS = 3  # task, softirq, hardirq: the load has no NMI
CLOCK = 5000  # ns: two readings of a CPU's clock by different code

EVENTS = ('sched:sched_switch', 'sched:sched_wakeup', 'irq:*',
          'raw_syscalls:*')
FUNCTIONS = 'vfs_*'

LOAD = '''
for n in 1 2 3; do
	(while :; do ls -l /proc/self /bin > /dev/null; done) &
	(while :; do dd if=/dev/zero of=/dev/null bs=512 count=200; done) \
		2> /dev/null &
done
'''


def truth(w, cpu):
    """[(time, key)] of the last events, oldest first, and how many began."""
    with open(w.oracle, 'rb') as f:
        f.seek(MEMORY + cpu * AREA)
        data = f.read(AREA)
    begun, = struct.unpack_from('<Q', data)
    found = []
    for n in range(SLOTS):
        at = 64 + n * SLOT
        number, when, kind, size = struct.unpack_from('<QQII', data, at)
        if number:
            found.append((number, when, (kind, data[at + 24:at + 24 + min(
                size, KEPT)])))
    return [(when, key) for _, when, key in sorted(found)], begun


def recorded(w):
    """{ring: [(time, key)]} of the events that dlog-read gives."""
    found = collections.defaultdict(list)
    kind = {}
    for e in entries(w.region, '-b', '0', '-t', 'event'):
        data = bytes.fromhex(e['hex'])
        if e['arg'] not in kind:
            kind[e['arg']] = FUNCTION if 'ftrace:function' in e['text'] or \
                e.get('name') == 'ftrace:function' else EVENT
        if kind[e['arg']] == FUNCTION:
            key = FUNCTION, data[8:24]
        else:
            key = EVENT, data[4:4 + KEPT]
        seconds, _, rest = str(e['time']).partition('.')
        found[e['ring']].append((int(seconds) * 10**9 + int(
            rest.ljust(9, '0')), key))
    return found


def compare(cpu, true, ours):
    """Which of the truth are missing, newest first: their place from the
    end; what is recorded and is not true fails."""
    # The ring may keep less than the truth does, and the other way round.
    first = max(true[CONTEXTS][0], ours[0][0] + CLOCK)
    waiting = collections.defaultdict(list)
    for at, (when, key) in enumerate(true):
        waiting[key].append([when, at, False])
    for when, key in ours:
        if when < first + CLOCK:
            continue
        # The driver is called after the truth, in the same context.
        mine = [t for t in waiting[key] if not t[2] and t[0] <= when + CLOCK]
        assert mine, 'cpu %d: recorded and never happened: %d %r' % (
            cpu, when, key)
        mine[-1][2] = True
    return [len(true) - at for group in waiting.values()
            for when, at, used in group
            if not used and when > first + 2 * CLOCK]


def killed(kernel, seconds, threads):
    with World(kernel=kernel, size='8M', accel='tcg,thread=' + threads, files={'/dlogtruth.ko': os.path.join(
            BUILD, 'guest', kernel, 'dlogtruth.ko')}) as w:
        w.load_driver()
        memory = int(w.guest.must(FIND_ORACLE), 0) + MEMORY
        w.guest.must('printf "%s\\n" > /dev/dlog' % '\\n'.join(
            ['event on ' + e for e in EVENTS] + ['function on ' + FUNCTIONS]))
        w.guest.must("insmod /dlogtruth.ko memory=%d functions='%s'" % (
            memory, FUNCTIONS))
        w.guest.must(LOAD)
        time.sleep(seconds)
        w.guest.kill9()
        ours = recorded(w)
        for cpu in range(2):
            true, begun = truth(w, cpu)
            assert begun > 300 and len(true) > 300, begun
            missing = sorted(compare(cpu, true, ours[cpu]))
            print('cpu %d: %d events happened, %d recorded and live, of the '
                  'last %d missing: %s' % (cpu, begun, len(ours[cpu]),
                                           len(true), missing or 'none'))
            # One for each context; behind one that was interrupted lies
            # what the interrupt did.
            assert len(missing) <= CONTEXTS, missing
            assert all(place <= 64 for place in missing), missing
            kinds = collections.Counter(key[0] for _, key in ours[cpu])
            assert kinds[EVENT] and kinds[FUNCTION], kinds
        for entry in w.loss(1).values():
            assert entry['dropped'] == 0
            assert entry['torn'] + entry['corrupt'] <= CONTEXTS, entry


def at_random(kernel, times, seed, threads='multi'):
    """threads: 'single' where QEMU 7.2 runs a CPU into code that another one
    is patching: switching tracepoints kills some kernels under 'multi'."""
    rand = random.Random(seed)
    for n in range(times):
        print('kill %d of %d' % (n + 1, times))
        killed(kernel, rand.uniform(0.5, 4), threads)


@case(timeout=600)
def at_two_instants():
    at_random('6.1', 2, 5, 'single')


@case(long=True, timeout=1800)
def at_twenty_instants():
    at_random('6.1', 20, 1)


@case(long=True, timeout=1800)
def at_twenty_instants_on_6_12():
    at_random('6.12', 20, 2, 'single')


if __name__ == '__main__':
    main()
