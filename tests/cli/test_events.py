#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""dlog-read and events: lines, JSON, -e, --pid, --events.

Records are laid out by hand from the kernel's format of sched_wakeup (less
the fields of no use here)."""

import json
import os
import select
import struct
import subprocess
import sys
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from cli import ENV, MKREGION, READ  # noqa: E402 (needs the path above)
from cli import case, fails, lines, objects, path, read, region, run, same, texts  # noqa: E402
from lib.case import main  # noqa: E402

FORMAT = '''name: sched_wakeup
format:
\tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;
\tfield:unsigned char common_flags;\toffset:2;\tsize:1;\tsigned:0;
\tfield:unsigned char common_preempt_count;\toffset:3;\tsize:1;\tsigned:0;
\tfield:int common_pid;\toffset:4;\tsize:4;\tsigned:1;

\tfield:char comm[16];\toffset:8;\tsize:16;\tsigned:0;
\tfield:pid_t pid;\toffset:24;\tsize:4;\tsigned:1;
\tfield:int prio;\toffset:28;\tsize:4;\tsigned:1;
\tfield:int target_cpu;\toffset:32;\tsize:4;\tsigned:1;

print fmt: "comm=%s pid=%d prio=%d target_cpu=%03d", REC->comm, REC->pid, REC->prio, REC->target_cpu
'''


def wakeup(by, comm, pid, prio, cpu):
    return struct.pack('<HBBi16siii', 0, 0, 0, by, comm, pid, prio, cpu).hex()


def escaped(text):
    """In mkregion's words."""
    return text.replace('\n', r'\n').replace('\t', r'\t')


def sample():
    event = 'event sched:sched_wakeup -'
    return region('''boot 6.1
format %s
%s 1000 %s
%s 2000 %s
%s 3000 %s
event my:own u32,n;str,s 4000 070000000200686f
''' % (escaped(FORMAT), event, wakeup(0, b'bash', 12, 120, 1),
       event, wakeup(12, b'sh', 13, -5, 0),
       event, wakeup(13, b'kworker/0:1', 7, 100, 0)))


@case
def text_has_thread_and_event():
    # trace-cmd report takes the priority here for unsigned, so we do.
    same(texts('-t', 'event', sample()), [
        '<idle>-0 sched:sched_wakeup: bash:12 [120] CPU:001',
        'bash-12 sched:sched_wakeup: sh:13 [4294967291] CPU:000',
        'sh-13 sched:sched_wakeup: kworker/0:1:7 [100] CPU:000',
        'my:own: n=7 s=ho'])


@case
def json_has_fields():
    a = objects('-t', 'event', sample())
    same(a[1]['name'], 'sched:sched_wakeup')
    same((a[1]['pid'], a[1]['comm']), (12, 'bash'))
    same(a[1]['fields'], {'comm': 'sh', 'pid': 13, 'prio': -5,
                          'target_cpu': 0})
    same(a[3]['fields'], {'n': 7, 's': 'ho'})
    assert 'pid' not in a[3]


@case
def conditions():
    f = sample()

    def pids(*choice):
        return [o['fields'].get('pid') for o in objects(*choice, f)]

    same(pids('-e', 'sched_wakeup'), [12, 13, 7])
    same(pids('-e', 'sched:*'), [12, 13, 7])
    same(pids('-e', 'my:*'), [None])
    same(pids('-e', 'sched_wakeup:pid==13'), [13])
    same(pids('-e', 'sched_wakeup:pid!=13'), [12, 7])
    same(pids('-e', 'sched_wakeup:prio<0'), [13])
    same(pids('-e', 'sched_wakeup:prio>=100'), [12, 7])
    same(pids('-e', 'sched_wakeup:prio>100'), [12])
    same(pids('-e', 'sched_wakeup:pid<=12'), [12, 7])
    same(pids('-e', 'sched_wakeup:pid&0x4'), [12, 13, 7])
    same(pids('-e', 'sched_wakeup:pid&2'), [7])
    same(pids('-e', 'sched_wakeup:comm~k*'), [7])
    same(pids('-e', 'sched_wakeup:comm=="sh"'), [13])
    same(pids('-e', 'sched_wakeup:pid>7 && prio==120'), [12])
    same(pids('-e', 'sched_wakeup:pid==7 || sched_wakeup:pid==12'), [12, 7])
    same(pids('-e', 'sched_wakeup:pid==7', '-e', 'own'), [7, None])
    same(pids('-e', 'own:n==7', '-e', 'sched_wakeup:pid==7&&prio==1'), [None])
    same(pids('--pid', '12'), [13])
    same(pids('--pid', '0,13'), [12, 7])


@case
def wrong_choices():
    f = sample()
    fails(read('-e', 'sched_wakeup:nopid==1', f), 2, 'nopid', 'it has:',
          'target_cpu')
    fails(read('-e', 'no_such', f), 2, 'no_such', '--events')
    fails(read('-e', 'sched_wakeup:pid<x', f), 2, 'pid<x')
    fails(read('-e', 'pid==1', f), 2, 'pid==1')
    fails(read('--pid', 'x', f), 2, "'x'")
    fails(read('--symbols', f, f), 2, 'neither System.map')


@case
def catalog_is_listed():
    f = sample()
    same(lines('--events', f), [
        '   1 sched:sched_wakeup: string comm, s32 pid, s32 prio, '
        's32 target_cpu',
        '   2 my:own: u32 n, string s'])
    same([o['name'] for o in objects('--events', f)],
         ['sched:sched_wakeup', 'my:own'])


@case
def kernels_that_differ():
    """-e with a field that only one of the kernels has: in several files, in
    the boots of one."""
    old = FORMAT.replace('target_cpu', 'success')
    word = {'old': 'format %s\n' % escaped(old),
            'new': 'format %s\n' % escaped(FORMAT)}
    event = 'event sched:sched_wakeup - %d %s\n'
    one = event % (1000, wakeup(1, b'a', 11, 120, 1))
    two = event % (2000, wakeup(1, b'b', 12, 120, 1))
    a = region('label a\nboot 5.4\n' + word['old'] + one, 'a.img')
    b = region('label b\nboot 6.1\n' + word['new'] + two, 'b.img')
    both = region('boot 5.4\n' + word['old'] + one + 'boot 6.1\n' +
                  word['new'] + two)
    for files in ((a, b), (b, a), (both,)):
        same([o['fields']['pid'] for o in
              objects('-e', 'sched_wakeup:target_cpu==1', *files)], [12])
        same([o['fields']['pid'] for o in
              objects('-e', 'sched_wakeup:success==1', *files)], [11])
        same([o['fields']['pid'] for o in
              objects('-e', 'sched_wakeup', *files)], [11, 12])
        fails(read('-e', 'sched_wakeup:neither==1', *files), 2, 'neither',
              'it has:')


class Following:
    """A guest that writes what it is told, and dlog-read -f."""

    def __init__(self, *args):
        self.guest = subprocess.Popen([MKREGION, path('live.img')],
                                      stdin=subprocess.PIPE)
        self.write('boot 6.1\n')
        while run(READ, '--list-boots', path('live.img')).out.count(
                ' 6.1 ') < 1:
            time.sleep(0.01)
        self.reader = subprocess.Popen(
            [READ, '-f', '-o', 'json', *args, path('live.img')], env=ENV,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.rest = b''

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.reader.kill()
        self.reader.communicate()
        self.guest.stdin.close()
        self.guest.wait()

    def write(self, text):
        self.guest.stdin.write(text.encode())
        self.guest.stdin.flush()

    def next(self):
        end = time.monotonic() + 20
        while b'\n' not in self.rest and time.monotonic() < end:
            if select.select([self.reader.stdout], [], [], 0.2)[0]:
                part = os.read(self.reader.stdout.fileno(), 65536)
                assert part, self.reader.stderr.read()
                self.rest += part
        line, self.rest = self.rest.split(b'\n', 1)
        return json.loads(line)


@case
def followed():
    """Types that come while it is read, one right after the other."""
    with Following() as f:
        for i in range(40):
            f.write('event my:own%d u32,n 1000 %02x000000\n' % (i, i))
            o = f.next()
            same((o['name'], o['fields']), ('my:own%d' % i, {'n': i}))


@case
def followed_with_conditions():
    """Events and fields that nobody knows yet when it begins."""
    with Following('-e', 'sched_wakeup:pid>12 || late:n==7') as f:
        f.write('text 6 1 nothing\nevent other u32,n 1000 07000000\n')
        f.write('format %s\n' % escaped(FORMAT))
        for i, pid in enumerate((12, 13, 5, 14)):
            f.write('event sched:sched_wakeup - %d %s\n' % (
                2000 + i, wakeup(1, b'x', pid, 120, 0)))
        f.write('event late u32,n 3000 06000000\n'
                'event late u32,n 3001 07000000\n')
        same([f.next()['fields'].get('pid') for _ in range(3)],
             [13, 14, None])
    with Following('--pid', '12') as f:
        f.write('printk 6 T11 1 no\nprintk 6 T12 2 yes\n')
        f.write('format %s\n' % escaped(FORMAT))
        for pid in (11, 12):
            f.write('event sched:sched_wakeup - %d %s\n' % (
                2000 + pid, wakeup(pid, b'x', 3, 120, 0)))
        same([f.next()['kind'] for _ in range(2)], ['printk', 'event'])


if __name__ == '__main__':
    main()
