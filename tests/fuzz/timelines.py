#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Damaged regions through dlog-read -o html and -o perfetto, under ASan and
UBSan: no crash, what comes out is well formed, and each record is in it once.

Relies on build/asan (make asan) and real.img.gz.
"""

import json
import os
import random
import re
import subprocess
import sys
import tempfile

sys.dont_write_bytecode = True

import sanitized  # noqa: E402 (no bytecode)
from sanitized import READ, mutate  # noqa: E402
import ftrace  # noqa: E402 (of tests/cli: sanitized makes it found)
import perfetto  # noqa: E402
from cli import MKREGION  # noqa: E402
from lib.case import case, main  # noqa: E402

DATA = re.compile(rb'<script id="data" type="application/json">(.*?)</script>',
                  re.S)


def real(path):
    with open(path, 'wb') as to:
        to.write(sanitized.unpacked('real'))


def events(path):
    """Threads that switch and wake, and a declared event, on two CPUs."""
    rng = random.Random(5)
    who = [('t%d' % i, i, 120) for i in range(20)]
    script = 'rings 2\nsize 131072\nboot 6.1.0\n'
    for i in range(600):
        ns, pid = 1000 * i, rng.randrange(20)
        script += 'ring %d\n' % (i % 2) + (
            ftrace.switch(ns, who[pid], 1, rng.choice(who)) if i % 3 == 0 else
            ftrace.wake('sched_waking', ns, pid, rng.choice(who), 1, 2)
            if i % 3 == 1 else
            'event own u32,a;str,b;char,c[4];bytes,d %d '
            '01000000030061626378797a000200ffff\n' % ns)
    script += 'beat 0 0 1 1\nbeat 1 1 1 1\n'
    subprocess.run([MKREGION, path], input=script.encode(), check=True)


def run(output, region):
    done = sanitized.run(READ, '-q', '-n', 'all', '-o', output, region,
                         status=(0, 2))
    return done.stdout if not done.returncode else b''


def records(region):
    """How many there are in the latest boot; None: not readable."""
    done = sanitized.run(READ, '-q', '-b', '-o', 'json', region, status=(0, 2))
    return None if done.returncode else done.stdout.count(b'\n')


def through(make, count, seed):
    seen = {'html': 0, 'perfetto': 0}
    with tempfile.TemporaryDirectory(prefix='dlog-fuzz-') as home:
        base = os.path.join(home, 'base')
        make(base)
        mutate('mutate', '--count=%d' % count, '--seed=%d' % seed,
               '--keep=' + home, base)
        for n in range(1, count + 1):
            region = os.path.join(home, str(n))
            want = records(region)
            page = run('html', region)
            assert (want is None) == (not page), region
            if page:
                data = json.loads(DATA.search(page).group(1))
                rows = data['rows']
                for _, ring, kind, level, event, *_ in rows:
                    # what report.js takes for granted
                    assert ring < len(data['lanes']) and level < 8, region
                    assert kind < len(data['kinds']), region
                    assert event < len(data['events']), region
                assert page.count(b'<script') == 2
                assert len(rows) == want, (region, len(rows), want)
                seen['html'] += want > 0
            trace = run('perfetto', region)
            if trace and perfetto.PROTOC:
                t = perfetto.Trace(trace)
                got = len(t.sched) + sum(i.category != 'loss'
                                         for i in t.instants)
                assert got == want, (region, got, want)
                seen['perfetto'] += want > 0
    # else nothing was tried
    if not perfetto.PROTOC:
        del seen['perfetto']
    assert min(seen.values()) > count // 3, seen
    print(seen)


@case
def of_a_guest():
    through(real, 80, 1)


@case
def of_events():
    through(events, 80, 2)


@case(long=True, timeout=7200)
def thousands():
    through(real, 2000, 3)
    through(events, 2000, 4)


if __name__ == '__main__':
    main()
