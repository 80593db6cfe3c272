#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""What a real guest said before it panicked, through the formats for other
tools: babeltrace2, journalctl and the guest's own dmesg say the same.

Relies on lib/, on tests/cli/babeltrace.py, and on babeltrace2 and
systemd-journal-remote.
"""

import json
import os
import subprocess
import sys
import tempfile
import time

sys.dont_write_bytecode = True
HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(os.path.dirname(HERE), 'cli')]

from babeltrace import events, same_records  # noqa: E402 (needs the path)
from lib.case import case, main, skip, until  # noqa: E402
from lib.world import World, tool  # noqa: E402

REMOTE = '/lib/systemd/systemd-journal-remote'
EVENTS = ('sched:*', 'irq:*', 'raw_syscalls:*', 'timer:*', 'kmem:kfree')


def crash(w):
    """Events and text, then a panic; the guest's dmesg before it."""
    w.load_driver()
    for glob in EVENTS:
        w.guest.must("echo 'event on %s' > /dev/dlog" % glob, timeout=300)
    w.guest.must('ls -lR /sys/class > /dev/null; sleep 0.2; '
                 'echo "<12>two words" > /dev/kmsg')
    said = w.guest.must('dmesg')
    w.guest.sh_nowait('echo c > /proc/sysrq-trigger')
    until('panic', lambda: w.status() == 'panic', 60)
    time.sleep(1)
    w.guest.kill9()
    return said


def as_ctf(w, want, folder):
    out = os.path.join(folder, 'ctf')
    tool('dlog-read', '-o', 'ctf', '-w', out, w.region)
    got, _ = events(out)
    same_records(got, want)
    names = {e.name for e in got}
    print(len(got), 'events of', len(names), 'types')
    assert {'printk', 'boot', 'state', 'sched:sched_switch',
            'raw_syscalls:sys_enter'} <= names, names
    switches = [e.fields for e in got if e.name == 'sched:sched_switch']
    assert {'swapper/0', 'swapper/1'} <= {f['prev_comm'] for f in switches}
    # One CPU's switches follow one another.
    for cpu in 0, 1:
        mine = [e.fields for e in got if e.name == 'sched:sched_switch' and
                e.packet['cpu_id'] == cpu]
        for a, b in zip(mine[-100:], mine[-99:]):
            assert a['next_pid'] == b['prev_pid'], (a, b)


def as_journal(w, want, folder):
    out = os.path.join(folder, 'guest.journal')
    done = subprocess.run([REMOTE, '-o', out, '-'],
                          input=tool('dlog-read', '-k', '-o', 'export',
                                     w.region), stdout=subprocess.PIPE)
    assert done.returncode == 0
    shown = subprocess.run(['journalctl', '--file', out, '-o', 'json',
                            '--all', '-q', '-k'], stdout=subprocess.PIPE)
    got = [json.loads(line) for line in shown.stdout.splitlines()]
    lines = [o for o in want if o['kind'] == 'printk']
    assert [(e['MESSAGE'], int(e['PRIORITY']), e['DLOG_REAL'])
            for e in got] == \
        [(o['text'], o['level'], o['real']) for o in lines]
    assert 'two words' in [e['MESSAGE'] for e in got]


def as_pstore(w, said, folder):
    out = os.path.join(folder, 'pstore')
    tool('dlog-read', '-o', 'pstore', '-w', out, w.region)
    with open(os.path.join(out, 'console-dlog-0')) as f:
        console = f.read()
    for line in said.splitlines()[-20:]:
        assert line.strip() in console, line
    with open(os.path.join(out, 'dmesg-dlog-1')) as f:
        head, *lines = f.read().splitlines()
    assert head.startswith('Panic#') and head.endswith(' Part1'), head
    assert any('Kernel panic - not syncing: sysrq' in x for x in lines)
    # Further lines of a record have no time of their own there.
    for line in lines:
        assert line.partition('] ')[2] in console, line


@case(timeout=600)
def a_panic_through_all_of_them():
    if not os.path.exists(REMOTE):
        skip('systemd-journal-remote is not installed')
    with World(size='16M', create=('--catalog', '2M')) as w, \
            tempfile.TemporaryDirectory(prefix='dlog-out-') as folder:
        said = crash(w)
        want = [json.loads(line) for line in
                tool('dlog-read', '-o', 'json', w.region).splitlines()]
        as_ctf(w, want, folder)
        as_journal(w, want, folder)
        as_pstore(w, said, folder)


if __name__ == '__main__':
    main()
