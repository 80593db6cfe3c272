#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Damaged rings of ftrace through dlog-read, under ASan and UBSan: no crash,
an end, and the same number of records in all outputs.

Relies on build/asan (make asan) and ftrace.img.gz, a real guest's ring
(mkftrace).
"""

import json
import os
import random
import signal
import struct
import subprocess
import sys
import tempfile
import time

sys.dont_write_bytecode = True

import sanitized  # noqa: E402 (no bytecode)
from sanitized import READ  # noqa: E402
from ftracering import Ring, event, extend, page  # noqa: E402 (of tests/cli)
from lib.case import case, main  # noqa: E402

ODD = (0, 1, 3, 0x7f, 0xff, 0xfff, 0x1000, 1 << 31, 3 << 30, 0xffffffff,
       0xbadfeed, 1 << 63, (1 << 64) - 1)
FORMAT = b'''events/sched/sched_switch/format:name: sched_switch
events/sched/sched_switch/format:ID: %d
events/sched/sched_switch/format:format:
events/sched/sched_switch/format:\tfield:unsigned short common_type;\toffset:0;\
\tsize:2;\tsigned:0;
events/sched/sched_switch/format:\tfield:char comm[16];\toffset:8;\tsize:16;\
\tsigned:0;
events/sched/sched_switch/format:
events/sched/sched_switch/format:print fmt: "%%s", REC->comm
'''


def real():
    return bytearray(sanitized.unpacked('ftrace'))


def built(kind, rng):
    ring = Ring(cpus=3, nr=8, kind=kind)
    for cpu in range(3):
        for k in range(1, 8):
            ring.put(cpu, k, page(k * 10**6, [
                event(310, struct.pack('<Q', n), 100) + extend(10**9)
                for n in range(rng.randrange(90))]))
        ring.commit(cpu, 7)
    return bytearray(bytes(ring))


def place(data, rng):
    """Meta data and headers more often than what is between."""
    page_at = rng.randrange(len(data) // 4096) * 4096
    return rng.choice((
        rng.randrange(64), page_at + rng.randrange(16),
        page_at + 16 + 4 * rng.randrange(60), page_at + rng.randrange(64),
        rng.randrange(len(data) - 8)))


def mutate(data, rng):
    for _ in range(rng.choice((1, 1, 2, 5, 40))):
        at = min(place(data, rng), len(data) - 4096)
        what = rng.randrange(7)
        if what == 0:
            data[at] ^= 1 << rng.randrange(8)
        elif what == 1:
            struct.pack_into('<I', data, at, rng.choice(ODD) & 0xffffffff)
        elif what == 2:
            struct.pack_into('<Q', data, at, rng.choice(ODD))
        elif what == 3:
            struct.pack_into('<Q', data, at, rng.getrandbits(64))
        elif what == 4:
            n = rng.randrange(4096)
            data[at:at + n] = rng.randbytes(n)
        elif what == 5:
            # One page in place of another.
            a, b = (rng.randrange(len(data) // 4096) * 4096 for _ in '12')
            data[a:a + 4096] = data[b:b + 4096]
        else:
            struct.pack_into('<I', data, at,
                             struct.unpack_from('<I', data, at)[0] +
                             rng.choice((-4, -1, 1, 4)) & 0xffffffff)
    if rng.randrange(20) == 0:
        del data[rng.randrange(len(data)):]
    return data


def run(*args):
    return sanitized.run(READ, '-q', '--source', 'ftrace', *args,
                         status=(0, 1, 2))


def follow(file, formats):
    """It goes on, and ends when it is told to."""
    done = subprocess.Popen([READ, '-q', '-f', '-n', 'all', '--source',
                             'ftrace', '--formats', formats, file],
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                            env=sanitized.ENV)
    time.sleep(0.7)
    done.send_signal(signal.SIGTERM)
    out = done.communicate(timeout=60)[0]
    assert done.returncode in (0, 2, -signal.SIGTERM), (done.returncode,
                                                        out[-3000:])


def through(make, count, seed):
    rng = random.Random(seed)
    seen = 0
    with tempfile.TemporaryDirectory(prefix='dlog-fuzz-') as home:
        formats = os.path.join(home, 'formats')
        with open(formats, 'wb') as f:
            f.write(FORMAT % 310)
        for n in range(count):
            file = os.path.join(home, 'ring')
            with open(file, 'wb') as f:
                f.write(make(rng))
            try:
                got = run('-o', 'json', file)
                records = [json.loads(line)
                           for line in got.stdout.splitlines()]
                if got.returncode == 0:
                    text = run('--formats', formats, '-o', 'cat', file)
                    stats = run('--stats', file)
                    assert stats.returncode == 0 and text.returncode == 0
                    total = [line.split() for line in
                             stats.stdout.decode().splitlines()
                             if line.split()[:1] == ['total']]
                    if total:
                        assert int(total[0][1]) == len(records), (
                            total, len(records))
                    run('--list-boots', file)
                    last = run('-n', '5', '-o', 'json', file)
                    assert last.stdout.count(b'\n') == min(5, len(records))
                    seen += len(records) > 0
                if n % 16 == 0:
                    follow(file, formats)
            except BaseException:
                keep = tempfile.mkstemp(prefix='dlog-fuzz-ring-')[1]
                os.replace(file, keep)
                print('kept as', keep)
                raise
    print(seen, 'of', count, 'had records')
    return seen


def garbage(rng):
    data = bytearray(rng.randbytes(rng.randrange(1, 200000)))
    # Far enough to look further.
    if rng.randrange(2) and len(data) > 64:
        struct.pack_into('<IIQQQQQII', data, 0, 0xbadfeed, 56, 0, 0, 0,
                         rng.choice((0, 4096)), rng.getrandbits(16), 4096,
                         rng.choice((3, 4, 20, 1 << 20)))
        data[4] = rng.choice((56, 56, 48, 40))
    return data


@case
def of_a_guest():
    assert through(lambda rng: mutate(real(), rng), 32, 1) > 16


@case
def built_ones():
    kinds = ('6.12', '6.15', '6.15-kaslr', '6.18')
    assert through(lambda rng: mutate(built(rng.choice(kinds), rng), rng),
                   24, 2) > 12


@case
def bytes_of_any_kind():
    through(garbage, 30, 3)


@case(long=True, timeout=7200)
def thousands():
    kinds = ('6.12', '6.15', '6.15-kaslr', '6.18')
    assert through(lambda rng: mutate(real(), rng), 2000, 4) > 1000
    assert through(lambda rng: mutate(built(rng.choice(kinds), rng), rng),
                   2000, 5) > 1000
    through(garbage, 500, 6)


if __name__ == '__main__':
    main()
