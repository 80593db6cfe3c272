#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Damaged regions through dlog-read -o html and -o perfetto, under ASan and
UBSan: no crash, what comes out is well formed, and each record is in it once.

Relies on build/asan (make asan) and real.img.gz.
"""

import gzip
import json
import os
import random
import re
import subprocess
import sys
import tempfile

sys.dont_write_bytecode = True
HERE = os.path.dirname(os.path.abspath(__file__))
TESTS = os.path.dirname(HERE)
sys.path.insert(0, os.path.join(TESTS, 'scenarios'))
sys.path.insert(0, os.path.join(TESTS, 'cli'))

import ftrace  # noqa: E402 (needs the path above)
import perfetto  # noqa: E402
from cli import BUILD, MKREGION  # noqa: E402
from lib.case import case, main  # noqa: E402

READ = os.path.join(BUILD, 'asan', 'bin', 'dlog-read')
MUTATE = os.path.join(BUILD, 'tests', 'mutate')
DATA = re.compile(rb'<script id="data" type="application/json">(.*?)</script>',
                  re.S)


def real(path):
    with gzip.open(os.path.join(HERE, 'real.img.gz')) as f, \
            open(path, 'wb') as to:
        to.write(f.read())


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
    done = subprocess.run([READ, '-q', '-n', 'all', '-o', output, region],
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          timeout=60)
    assert done.returncode in (0, 2), (region, done.returncode,
                                       done.stderr.decode()[-3000:])
    return done.stdout if not done.returncode else b''


def records(region):
    """How many there are in the latest boot; None: not readable."""
    done = subprocess.run([READ, '-q', '-b', '-o', 'json', region],
                          stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                          timeout=60)
    return None if done.returncode else done.stdout.count(b'\n')


def through(make, count, seed):
    seen = {'html': 0, 'perfetto': 0}
    with tempfile.TemporaryDirectory(prefix='dlog-fuzz-') as home:
        base = os.path.join(home, 'base')
        make(base)
        subprocess.run([MUTATE, '--count=%d' % count, '--seed=%d' % seed,
                        '--keep=' + home, base], check=True)
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
