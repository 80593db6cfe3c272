#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""dlog-read -o perfetto: what protoc reads in it is what -o json says of the
same region."""

import json
import os
import sys
from decimal import Decimal

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from cli import READ, case, fails, path, read, region, same  # noqa: E402
from cli import terminal  # noqa: E402
import ftrace  # noqa: E402
from lib.case import main, skip  # noqa: E402
from perfetto import PROTOC, Trace  # noqa: E402

T0 = 1700000000

LEVELS = 'emerg alert crit err warn notice info debug'.split()

MANY_KINDS = '''
label guest-1
rings 3
cpus 8
boot 6.1.0-56-amd64 %d000000000
clock 0 %d000000000
printk 6 T0 1000 the first boot
boot 6.12.0 %d000000000
clock 0 %d000000000
printk 6 T0 5000000 Linux version
printk 30 C1 6000001 systemd[1]: up
ring 1
text 4 7000000 own warning
printk 3 - 7000000 same instant
printk 6 T7 7500000 bytes \\xff\\xc3\\xa9 \\x1b[31m and \\xe2\\x80\\xa8
printk 6 T7 7600000 first\\nsecond line
ring 0
note 8000000
stack 1 4 9000000 frame
state 4 9500000 Fatal exception
beat 0 0 9500000 1
beat 5 1 9500000 1
''' % (T0, T0, T0 + 100, T0 + 100)


def trace(*args):
    if not PROTOC:
        skip('protoc is not installed')
    r = read('-o', 'perfetto', *args)
    same(r.code, 0)
    return Trace(r.raw)


def objects(*args):
    """cli's, where a line may have separators of Unicode in it."""
    r = read('-o', 'json', *args)
    same(r.code, 0)
    return [json.loads(line, parse_float=Decimal)
            for line in r.out.split('\n') if line]


def nanoseconds(o):
    return int(o['time'] * 10**9)


def log_of(t):
    """Instants of the log, as expected() has them."""
    return [(i.track, i.ns, i.category, i.args.get('text', i.name),
             i.args['level'], i.args.get('caller'))
            for i in t.instants if i.category != 'loss']


def expected(rings, *args):
    return [(rings[o['ring']] + ' log', nanoseconds(o), o['kind'], o['text'],
             LEVELS[o['level']], o.get('caller'))
            for o in objects('-q', *args) if o['kind'] != 'event']


@case
def every_record_once():
    g = region(MANY_KINDS)
    for boot in (1, 2):
        t = trace('-b', str(boot), g)
        want = expected(['CPU 0', 'CPU 5', 'ring 2'], '-b', str(boot), g)
        same(log_of(t), want)
        same(len(want), {1: 1, 2: 9}[boot])


@case
def times_and_kernel():
    t = trace('-b', '2', region(MANY_KINDS))
    real = (T0 + 100) * 10**9
    same(t.clocks, [{6: 5000000, 1: real + 5000000},
                    {6: 9500000, 1: real + 9500000}])
    same(t.system, {'sysname': 'Linux', 'release': '6.12.0',
                    'machine': 'x86_64'})
    # a guest whose wall clock nobody knows
    t = trace(region('boot x\nprintk 6 T0 77 a\n'))
    same(t.clocks, [{6: 77}, {6: 77}])


@case
def tracks():
    t = trace('-b', '2', region(MANY_KINDS))
    root, = (u for u, parent in t.parents.items() if parent is None)
    same(t.tracks[root], 'guest-1, boot 2')
    same(sorted(name for u, name in t.tracks.items() if u != root),
         ['CPU 0 log', 'CPU 5 log'])
    same({p for u, p in t.parents.items() if u != root}, {root})
    # several CPUs in one ring
    t = trace(region('rings 1\nboot x\nprintk 6 T0 1 a\nbeat 0 0 1 1\n'
                     'beat 3 0 1 1\n'))
    assert 'CPUs 0, 3 log' in t.tracks.values(), t.tracks


@case
def the_latest_boot_unless_told():
    g = region(MANY_KINDS)
    r = read('-o', 'perfetto', g)
    same(Trace(r.raw).tracks[1], 'guest-1, boot 2')
    assert 'boot 2, the latest of 2' in r.err and '-b' in r.err, r.err
    same(read('-q', '-o', 'perfetto', g).err, '')
    same(read('-b', '1', '-o', 'perfetto', g).err, '')


@case
def filters_apply():
    g = region(MANY_KINDS)
    for args in (['-l', 'err+'], ['-c', '5'], ['-t', 'printk'], ['-n', '2'],
                 ['-g', 'line'], ['-U', '0.0065']):
        got = log_of(trace('-b', '2', *args, g))
        same(got, expected(['CPU 0', 'CPU 5', 'ring 2'], '-b', '2', *args, g))
        assert 0 < len(got) < 9, args


IDLE, BASH, CAT = ('swapper/0', 0, 120), ('bash', 812, 120), ('cat', 9000, 119)
SCHED = ('cpus 4\nrings 2\nboot 6.1.0\nbeat 0 0 1 1\nbeat 2 1 1 1\n' +
         ftrace.switch(1000, IDLE, 0, BASH) +
         ftrace.wake('sched_waking', 1500, 812, CAT, 2, 2) +
         ftrace.switch(2000, BASH, 1, IDLE) +
         'ring 1\n' +
         ftrace.switch(1700, ('swapper/2', 0, 120), 0, CAT) +
         ftrace.wake('sched_wakeup', 1600, 812, CAT, 2, 3) +
         ftrace.wake('sched_wakeup_new', 1800, 9000, ('new', 9001, 100), 0, 4))


def switched(prev, state, nxt):
    return dict(prev_comm=prev[0], prev_pid=prev[1], prev_prio=prev[2],
                prev_state=state, next_comm=nxt[0], next_pid=nxt[1],
                next_prio=nxt[2])


def woken(who, cpu):
    return dict(comm=who[0], pid=who[1], prio=who[2], target_cpu=cpu)


@case
def scheduling():
    """What the trace processor makes slices of, on the CPU it was on."""
    t = trace(region(SCHED))
    same(sorted(t.sched, key=lambda e: e[1]), [
        (0, 1000, 0, 'sched_switch', switched(IDLE, 0, BASH)),
        (0, 1500, 812, 'sched_waking', woken(CAT, 2)),
        (2, 1600, 812, 'sched_wakeup', woken(CAT, 2)),
        (2, 1700, 0, 'sched_switch', switched(('swapper/2', 0, 120), 0, CAT)),
        (2, 1800, 9000, 'sched_wakeup_new', woken(('new', 9001, 100), 0)),
        (0, 2000, 812, 'sched_switch', switched(BASH, 1, IDLE))])
    same(t.instants, [])


@case
def scheduling_of_unknown_cpus():
    """Two CPUs share a ring: nobody knows whose slice it was."""
    t = trace(region('rings 1\nboot x\nbeat 0 0 1 1\nbeat 1 0 1 1\n' +
                     ftrace.switch(1000, IDLE, 0, BASH)))
    same(t.sched, [])
    i, = t.instants
    same((i.track, i.ns, i.category, i.name),
         ('CPUs 0, 1 events', 1000, 'sched', 'sched_switch'))
    same({k: i.args[k] for k in switched(IDLE, 0, BASH)},
         switched(IDLE, 0, BASH))


@case
def events():
    t = trace(region(
        'boot x\nbeat 1 0 1 1\n'
        'event disk.io u32,sector;s16,d;x64,flags;str,what;char,comm[8];'
        'bytes,rest 1000 ffffffff' 'feff' '0000000000000080' '0300616263'
        '6261736800000000' '0200c3ff\n'
        'event disk.io u32,sector;s16,d;x64,flags;str,what;char,comm[8];'
        'bytes,rest 2000 0100\n'
        'event disk_io u32,text 3000 07000000\n'))
    same([(i.track, i.ns, i.name) for i in t.instants if 'sector' in i.args],
         [('CPU 1 events', 1000, 'disk_io')])
    a = t.instants[0].args
    same((a['sector'], a['d'], a['flags'], a['what'], a['comm'], a['rest']),
         (0xffffffff, -2, 1 << 63, 'abc', 'bash', 'c3ff'))
    # cut short: what is there
    same({'sector', 'd', 'what'} & set(t.instants[1].args), set())
    same(t.instants[2].args['text'], 7)
    same(len(t.instants), 3)


@case
def loss():
    g = region('rings 2\nboot x\nprintk 6 T0 10 a\ntorn 20 b\ntorn 25 b\n'
               'printk 6 T0 30 c\ndrop\nbeat 0 0 30 1\nring 1\n'
               'printk 6 T0 40 d\n')
    t = trace(g)
    lost = [i for i in t.instants if i.category == 'loss']
    same([(i.track, i.ns, i.args) for i in lost],
         [('CPU 0 log', 10, {'overwritten': 0, 'torn': 2, 'corrupt': 0,
                             'dropped': 1})])
    same(len(t.instants), 4)


@case
def long_lines():
    """The name, which the UI draws, is cut; nothing is lost."""
    text = 'é' * 300 + 'end'
    t = trace(region('boot x\nprintk 6 T0 10 %s\nprintk 6 T0 20 \n' % text))
    same([i.args.get('text', i.name) for i in t.instants], [text, ''])
    assert len(t.instants[0].name.encode()) <= 200
    assert text.startswith(t.instants[0].name)


@case
def nothing_in_it():
    t = trace(region(''.join(('boot x\n', 'printk 6 T0 10 a\n'))), '-l', 'err')
    same((t.instants, t.sched), ([], []))


@case
def what_cannot_be():
    g = region(MANY_KINDS)
    for args, word in ((['-f', g], 'cannot follow'),
                       ([g, g], 'one file'),
                       (['-b', 'all', g], 'one boot'),
                       (['--stats', g], 'is for records')):
        fails(read('-o', 'perfetto', *args), 2, word)
    code, shown = terminal(READ, '-o', 'perfetto', g)
    same(code, 2)
    assert 'not for a terminal' in shown and '-w' in shown, shown
    same(read('-b1', '-o', 'perfetto', '-w', path('t'), g).err, '')
    with open(path('t'), 'rb') as f:
        same(f.read(), read('-b1', '-o', 'perfetto', g).raw)


if __name__ == '__main__':
    main()
