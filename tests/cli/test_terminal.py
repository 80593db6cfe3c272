#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""dlog-read on a terminal (pager, colours, hints) and following a guest."""

import os
import select
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from cli import (ENV, MKREGION, READ, case, path, read,  # noqa: E402
                 region, same, terminal)
from lib.case import main  # noqa: E402

SCRIPT = 'boot x\ntext 3 1000 disk: error\ntext 6 2000 net: up\n'
PLAIN = '[    0.000001] disk: error\n[    0.000002] net: up\n'


@case
def colours_only_on_a_terminal():
    g = region(SCRIPT)
    same(read(g).out, PLAIN)
    code, shown = terminal(READ, '--no-pager', g)
    same(code, 0)
    assert '\x1b[31mdisk: error\x1b[0m' in shown
    assert '\x1b[33mnet: \x1b[0mup' in shown
    for env in ({'NO_COLOR': '1'}, {'TERM': 'dumb'}):
        same(terminal(READ, '--no-pager', g, env=env), (0, PLAIN))
    same(terminal(READ, '--no-pager', '--color=never', g), (0, PLAIN))
    assert '\x1b[31m' in read('--color=always', g).out
    assert '\x1b[31m' in read('--color', g).out
    same(read('--color=auto', g).out, PLAIN)
    assert '\x1b' not in read('--color=always', '-o', 'json', g).out


def pager(mark):
    """A pager that leaves a mark in a file and passes its input on."""
    return 'touch %s; sed s/^/P:/' % path(mark)


@case
def pager_only_on_a_terminal():
    g = region(SCRIPT)
    env = {'DLOG_PAGER': pager('mark'), 'PAGER': 'false', 'NO_COLOR': '1'}
    same(read(g, env=env).out, PLAIN)
    assert not os.path.exists(path('mark'))
    same(terminal(READ, g, env=env),
         (0, ''.join('P:' + line + '\n' for line in PLAIN.splitlines())))
    assert os.path.exists(path('mark'))
    same(terminal(READ, '--no-pager', g, env=env), (0, PLAIN))
    same(terminal(READ, g, env=dict(env, DLOG_PAGER='')), (0, PLAIN))
    same(terminal(READ, g, env=dict(env, DLOG_PAGER='cat')), (0, PLAIN))
    same(terminal(READ, g, env={'PAGER': pager('x'), 'NO_COLOR': '1'})[1][:2],
         'P:')


@case
def pager_that_ends_early():
    g = region('boot x\nfill 4000 6 0 line\n')
    same(terminal(READ, g, env={'DLOG_PAGER': 'head -1', 'NO_COLOR': '1'}),
         (0, '[    0.000000] line0\n'))
    same(terminal(READ, g, env={'DLOG_PAGER': 'exec true'}), (0, ''))


@case
def hint_about_a_hung_guest():
    script = SCRIPT + ('period 1000\nstatus 2 0\nbeat 0 0 20000000000 1\n'
                       'beat 1 1 7700000000 1\n')
    g = region(script)
    code, shown = terminal(READ, '--no-pager', '--color=never', g)
    same(code, 0)
    assert "CPU 1's heartbeat is 12.3 s behind" in shown
    same(read(g).err, '')
    for args in (['-q'], ['-o', 'json']):
        assert 'heartbeat' not in terminal(READ, '--no-pager', *args, g)[1]


class Guest:
    """mkregion with its script's end still open: a guest that goes on."""

    def __init__(self, script):
        self.path = path('live.img')
        self.process = subprocess.Popen([MKREGION, self.path],
                                        stdin=subprocess.PIPE)
        self.say(script)

    def say(self, script):
        self.process.stdin.write(script.encode())
        self.process.stdin.flush()

    def __enter__(self):
        for _ in range(500):
            if read('-q', self.path).out:
                return self
            time.sleep(0.02)
        raise AssertionError('mkregion wrote nothing')

    def __exit__(self, *_):
        self.process.stdin.close()
        same(self.process.wait(20), 0)


class Follower:
    def __init__(self, *args):
        self.process = subprocess.Popen(
            [READ, '-f', '-o', 'cat', *args], env=ENV,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def next(self, seconds=10):
        """What it prints within that time, up to a whole line."""
        got, end = b'', time.monotonic() + seconds
        fd = self.process.stdout.fileno()
        while not got.endswith(b'\n') and time.monotonic() < end:
            if select.select([fd], [], [], 0.02)[0]:
                part = os.read(fd, 65536)
                if not part:
                    break
                got += part
        return got.decode()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.stdout.close()
        self.process.stderr.close()
        self.process.wait(10)


@case
def follow():
    with Guest('boot x\nfill 15 6 0 old\n') as g:
        with Follower(g.path) as f:
            same(f.next(), ''.join('old%d\n' % i for i in range(5, 15)))
            for i in range(3):
                g.say('text 6 %d new%d\n' % (10**9 + i, i))
                same(f.next(), 'new%d\n' % i)
            same(f.next(0.3), '')
            g.say('boot y\ntext 6 5 next boot\n')
            same(f.next(), 'next boot\n')


@case
def follow_with_filters():
    with Guest('boot x\ntext 3 1 bad\ntext 6 2 fine\n') as g:
        with Follower('-l', 'err', '-n', 'all', g.path) as f:
            same(f.next(), 'bad\n')
            g.say('text 6 3 fine\ntext 3 4 worse\n')
            same(f.next(), 'worse\n')
        with Follower('-n', '0', g.path) as f:
            same(f.next(0.5), '')
            g.say('text 6 5 new\n')
            same(f.next(), 'new\n')


@case
def follow_ends_with_its_reader():
    """Also when nothing more is written: dlog-read -f FILE | head -1."""
    with Guest(SCRIPT) as g:
        f = Follower(g.path)
        f.next()
        f.process.stdout.close()
        same(f.process.stderr.read(), b'')
        f.process.wait(10)


@case
def follow_announces_a_boot():
    with Guest(SCRIPT) as g:
        with Follower('-o', 'text', g.path) as f:
            same(f.next(), PLAIN)
            g.say('status 4 5\nboot 6.12.0\ntext 6 5 up again\n')
            same(f.next(), '-- boot 2: 6.12.0, the one before ended: panic '
                           '--\n[    0.000000] up again\n')


if __name__ == '__main__':
    main()
