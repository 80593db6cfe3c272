#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""dlog-read -o export and -o pstore: what systemd's own programs make of
them."""

import json
import os
import signal
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from cli import (READ, case, objects, path, read, region,  # noqa: E402
                 run, same)
from lib.case import main, skip  # noqa: E402

T0 = 1700000000
REMOTE = '/lib/systemd/systemd-journal-remote'
PSTORE = '/lib/systemd/systemd-pstore'

TWO_BOOTS = '''
size 1048576
label guest-1
boot 6.1.0-56-amd64 %d000000000
clock 0 %d000000000
printk 6 T0 0 Linux version
printk 3 T1 1500000000 disk: error
ring 1
printk 30 C1 1000000999 systemd[1]: up
text 4 2000000000 own warning
status 2 2000000000
boot 6.12.0 %d000000000
ring 0
printk 5 - 5000000 second\\nnotice
text 131 1000000000 \\x1b[2J \\x00\\xff
printk 7 T9 1000000000 second debug
state 4 9000000000 Fatal exception
status 4 9000000000
''' % (T0, T0, T0 + 100)


def imported(*args):
    """Entries of the journal that systemd-journal-remote makes."""
    if not os.path.exists(REMOTE):
        skip('systemd-journal-remote is not installed')
    r = read('-o', 'export', *args)
    same((r.code, r.err), (0, ''))
    out = path('guest.journal')
    if os.path.exists(out):
        os.unlink(out)
    done = subprocess.run([REMOTE, '-o', out, '-'], input=r.raw,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    same(done.returncode, 0)
    return journal(out)


def journal(file, *args):
    shown = run('journalctl', '--file', file, '-o', 'json', '--all', '-q',
                *args)
    same((shown.code, shown.err), (0, ''))
    return [json.loads(line) for line in shown.lines]


def message(entry):
    """Its bytes: journalctl has a list where they are no text."""
    m = entry['MESSAGE']
    return bytes(m) if isinstance(m, list) else m.encode()


@case
def what_journalctl_shows():
    got = imported(region(TWO_BOOTS))
    same([(message(e), int(e['PRIORITY']), int(e['__REALTIME_TIMESTAMP']),
           int(e['__MONOTONIC_TIMESTAMP'])) for e in got], [
        (b'Linux version', 6, T0 * 10**6, 0),
        (b'systemd[1]: up', 6, T0 * 10**6 + 1000000, 1000000),
        (b'disk: error', 3, T0 * 10**6 + 1500000, 1500000),
        (b'own warning', 4, T0 * 10**6 + 2000000, 2000000),
        (b'second\nnotice', 5, (T0 + 100) * 10**6 + 5000, 5000),
        (b'\x1b[2J \0\xff', 3, (T0 + 101) * 10**6, 1000000),
        (b'second debug', 7, (T0 + 101) * 10**6, 1000000),
        (b'state: panic: Fatal exception', 0, (T0 + 109) * 10**6, 9000000)])
    same([e.get('SYSLOG_FACILITY') for e in got],
         ['0', '3', '0', '0', '0', '16', '0', None])
    same([e.get('DLOG_CALLER') for e in got],
         ['T0', 'C1', 'T1', None, None, None, 'T9', None])
    # mkregion's boot ids: b0, zeros, the boot's number
    same([e['_BOOT_ID'] for e in got],
         ['b0' + '0' * 29 + '1'] * 4 + ['b0' + '0' * 29 + '2'] * 4)
    for e in got:
        same((e['_TRANSPORT'], e['SYSLOG_IDENTIFIER'], e['_HOSTNAME'],
              e['DLOG_GUEST']), ('kernel', 'kernel', 'guest-1', 'guest-1'))
    same(len({e['DLOG_ID'] for e in got}), 8)


@case
def same_as_json():
    g = region('size 1048576\nboot x %d000000000\nfill 3000 6 0 line\n'
               'ring 1\nfill 3000 3 500 other\n' % T0)
    got, want = imported(g), objects(g)
    same(len(got), 6000)
    same([(e['DLOG_BOOT'], e['DLOG_RING'], e['DLOG_POSITION'], e['MESSAGE'],
           e['DLOG_KIND'], e['DLOG_REAL'], e['PRIORITY']) for e in got],
         [(str(o['boot']), str(o['ring']), str(o['position']), o['text'],
           o['kind'], o['real'], str(o['level'])) for o in want])


@case
def boots_and_kernel():
    imported(region(TWO_BOOTS))
    file = path('guest.journal')
    same([message(e) for e in journal(file, '-k', '-b', '-1')],
         [b'Linux version', b'systemd[1]: up', b'disk: error',
          b'own warning'])
    same([message(e) for e in journal(file, '-p', 'err', '-b')],
         [b'\x1b[2J \0\xff', b'state: panic: Fatal exception'])
    same(len(run('journalctl', '--file', file, '--list-boots',
                 '-q').lines) >= 2, True)


@case
def any_bytes():
    every = [bytes([c]) for c in range(256)]
    every += [b'a\nPRIORITY=0\n\n__CURSOR=x\nMESSAGE=forged', b'']
    got = imported(region('label a=b\\nc\nboot x %d000000000\n' % T0 + ''.join(
        'text 6 %d %s\n' % (i * 1000, ''.join('\\x%02x' % c for c in b))
        for i, b in enumerate(every))))
    # one line feed at the end is the line's own
    same([message(e) for e in got],
         [b[:-1] if b.endswith(b'\n') else b for b in every])


@case
def no_wall_clock():
    """Dated by the guest's clock; without DLOG_REAL."""
    got = imported(region('boot x\ntext 6 0 a\ntext 6 5000000000 b\n'))
    same([(e['MESSAGE'], e['__REALTIME_TIMESTAMP'], 'DLOG_REAL' in e)
          for e in got], [('a', '1', False), ('b', '5000000', False)])


@case
def hostile_times():
    times = [2**64 - 1, 0, 2**63, 5, 2**55 * 1000, 7]
    g = region('rings 1\nboot x %d000000000\n' % T0 + ''.join(
        'text 6 %d t%d\n' % (t, t) for t in times))
    same([e['MESSAGE'] for e in imported(g)],
         ['t%d' % t for t in sorted(times)])


@case
def follows():
    g = region(TWO_BOOTS)
    p = subprocess.Popen([READ, '-f', '-n', 'all', '-o', 'export', g],
                         stdout=subprocess.PIPE)
    want = read('-o', 'export', g).raw
    same(want.count(b'\n\n__CURSOR='), 7)
    same(p.stdout.read(len(want)), want)
    p.send_signal(signal.SIGINT)
    same(p.communicate(timeout=10)[0], b'')


def files_of(top):
    return {name: open(os.path.join(top, name), 'rb').read()
            for name in os.listdir(top)}


CRASHES = '''
label guest-1
boot one %d000000000
printk 6 T0 1000000 first
state 3 2000000 oops
printk 1 T7 2500000 BUG: bad
printk 4 T7 3000000 ---[ end trace ]---\\nmore
status 3 3000000
boot two %d000000000
printk 6 T0 1000000 fine
status 9 2000000
boot three %d000000000
printk 6 T0 1500000 third
state 3 2000000 oops
state 4 3000000 panic
printk 30 T1 2000000 user \\x1b[0m
printk 0 T7 3100000 Kernel panic
text 4 3200000 own
status 4 3000000
''' % (T0, T0 + 100, T0 + 200)


@case
def as_in_sys_fs_pstore():
    out = path('pstore')
    same(read('-o', 'pstore', '-w', out, region(CRASHES)).code, 0)
    same(files_of(out), {
        'dmesg-dlog-1': b'Oops#1 Part1\n'
                        b'<6>[    0.001000] first\n'
                        b'<1>[    0.002500] BUG: bad\n'
                        b'<4>[    0.003000] ---[ end trace ]---\n'
                        b'<4>[    0.003000] more\n',
        'dmesg-dlog-3': b'Panic#2 Part1\n'
                        b'<6>[    0.001500] third\n'
                        b'<30>[    0.002000] user \\x1b[0m\n'
                        b'<0>[    0.003100] Kernel panic\n'
                        b'<4>[    0.003200] own\n',
        'console-dlog-0': b'[    0.001500] third\n'
                          b'[    0.002000] user \\x1b[0m\n'
                          b'[    0.003100] Kernel panic\n'
                          b'[    0.003200] own\n'})
    same(os.stat(os.path.join(out, 'dmesg-dlog-1')).st_mtime, T0 + 0.003)


@case
def last_lines_alone():
    """10240 bytes of whole lines, as the kernel keeps by default."""
    out = path('pstore')
    g = region('size 1048576\nrings 1\nboot x\nfill 5000 6 0 line\n'
               'status 4 9\n')
    same(read('-o', 'pstore', '-w', out, g).code, 0)
    dump = files_of(out)['dmesg-dlog-1'].decode()
    assert 10240 - 30 < len(dump) <= 10240, len(dump)
    head, *lines = dump.splitlines()
    same(head, 'Panic#1 Part1')
    want = ['<6>[    0.%06d] line%d' % (i, i) for i in range(5000)]
    same(lines, want[-len(lines):])
    same(files_of(out)['console-dlog-0'].decode().splitlines(),
         [line[3:] for line in want])


@case
def systemd_takes_it():
    if not os.path.exists(PSTORE):
        skip('systemd-pstore is not installed')
    out, archive = path('pstore'), path('archive')
    same(read('-o', 'pstore', '-w', out, region(CRASHES)).code, 0)
    had = files_of(out)
    os.mkdir(archive)
    r = run(PSTORE, out, archive)
    same(r.code, 0)
    kept = {}
    for where, _, names in os.walk(archive):
        for name in names:
            with open(os.path.join(where, name), 'rb') as f:
                kept[name] = f.read()
    for name, data in had.items():
        same(kept[name], data)
    same(os.listdir(out), [])


if __name__ == '__main__':
    main()
