#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Random damage to ramoops areas, a real guest's and made ones, under ASan and
UBSan; and files that would take too long if reading them were not linear.

Relies on `make asan`, ramoops.img.gz (see mkramoops) and
tests/cli/ramoops_area.py.
"""

import os
import random
import resource
import struct
import subprocess
import sys
import tempfile

sys.dont_write_bytecode = True

import sanitized  # noqa: E402 (no bytecode)
from sanitized import file_of, mutate, unpacked  # noqa: E402
from cli import READ  # noqa: E402 (sanitized makes it found)
from lib.case import case, main  # noqa: E402
from ramoops_area import (LINUX_6_1, SIG, Zone, area, call,  # noqa: E402
                          dump)


def made(parity):
    """All kinds of zones; the console's is full."""
    said = ['[%12.6f] this is line %d' % (n / 100, n) for n in range(400)]
    console = Zone(8192, parity)
    for one in said:
        console.write(one.encode() + b'\n')
    ftrace = Zone(2048, parity, SIG ^ LINUX_6_1)
    for n in range(100):
        ftrace.write(call(0xffffffff81000000 + n, 0xffffffff82000000, n, 0))
    pmsg = Zone(2048, parity)
    pmsg.write(b'of user space\n' * 200)
    return area(dump(4096, 1000, said[350:], parity),
                dump(4096, 2000, said[:60], parity, packed=True),
                dump(4096, 3000, said[:9], parity).zap(), Zone(4096, parity),
                console, ftrace, pmsg)


def many(count, seed):
    with tempfile.TemporaryDirectory(prefix='dlog-fuzz-') as folder:
        files = []
        for n, data in enumerate((unpacked('ramoops'), made(0), made(16))):
            files.append(os.path.join(folder, str(n)))
            with open(files[-1], 'wb') as f:
                f.write(data)
        mutate('mutate_stock', 'ramoops', str(count), str(seed), *files)


@case
def small_files():
    """Zones without room for a header, a byte of data, their parity."""
    head = struct.pack('<III', SIG, 0, 0)
    full = struct.pack('<III', SIG, 1, 1)
    for before in (0, 2, 10, 12, 14):
        for behind in (0, 1, 2, 15, 17, 29):
            with file_of(b'\xff' * before + head + full +
                         b'\xee' * behind) as f:
                for ecc in '', ',ecc=0', ',ecc=1', ',ecc=127':
                    sanitized.run(sanitized.READ, '--source', 'ramoops' + ecc,
                                  f, status=(0, 2))


def cpu(data, *options):
    """Seconds of CPU to read it."""
    with file_of(data) as f:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        for what in (['-o', 'json'], ['--stats'], ['--list-boots']):
            out = subprocess.run([READ, *what, *options, f],
                                 stdout=subprocess.PIPE,
                                 stderr=subprocess.PIPE, timeout=250)
            assert out.returncode in (0, 2), out.returncode
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def quadratic(size):
    """Areas that invite to look at the same bytes again and again."""
    head = struct.pack('<III', SIG, 0, 0)
    text = b'[    1.000000] the same line\n'
    heading = b'====%d.000000-D\nPanic#1 Part1\n'
    yield 'headers', head * (size // 12)
    yield 'nested', b''.join(
        struct.pack('<III', SIG, size - n - 12, size - n - 12) + b'x' * 1012
        for n in range(0, size, 1024))
    yield 'lines', struct.pack('<III', SIG, size // 2, size - 12) + \
        (text * (size // len(text) + 1))[:size - 12]
    yield 'newlines', struct.pack('<III', SIG, 5, size - 12) + \
        b'\n' * (size - 12)
    yield 'not full', struct.pack('<III', SIG, 5, size - 12) + \
        text * 100 + bytes(size - 12 - 100 * len(text))
    yield 'no newline', struct.pack('<III', SIG, 5, size - 12) + \
        b'a' * (size - 12)
    dumps = b''
    for n in range(size // 256):
        one = heading % (n + 1) + b'[%12.6f] same\n' % (n % 7) + text * 3
        dumps += (struct.pack('<III', SIG, len(one), len(one)) + one).ljust(
            256, b'\0')
    yield 'dumps', dumps
    yield 'lost', b''.join(
        (b'\xff' * 12 + heading % 7 + text).ljust(1024, b'\0')
        for _ in range(size // 1024))
    rand = random.Random(1)
    yield 'noise', head + rand.randbytes(size - 12)


@case
def damage():
    many(250, 1)


@case(long=True, timeout=7200)
def a_hundred_thousand():
    many(100000, 2)


@case
def linear():
    """16 times the bytes take 16 times as long, not 256 times."""
    small = dict(quadratic(1 << 16))
    for name, data in quadratic(1 << 20):
        for options in ((), ('--source', 'ramoops,ecc=1')):
            a, b = cpu(small[name], *options), cpu(data, *options)
            print('%-10s %s %.3f s, %.3f s' % (name, options, a, b))
            assert b < 16 * 3 * max(a, 0.02), name


if __name__ == '__main__':
    main()
