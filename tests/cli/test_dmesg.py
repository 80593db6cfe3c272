#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""dlog-read prints what dmesg prints: the same records through both.

dmesg -F reads the format of syslog(2), "<pri>[seconds] text", of which each
line is a record.  Text of several lines goes through /dev/kmsg, where the
test may write it and dmesg reads it back.
"""

import calendar
import os
import re
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from cli import ENV, case, path, read, region, same  # noqa: E402
from lib.case import main, skip  # noqa: E402

ESCAPED = re.compile(rb'[^ -~]|\\')

# dmesg knows the facilities up to 11; -F takes more for none, too.
RECORDS = [(level | facility << 3, ns, text)
           for facility, level in [(0, n) for n in range(8)] +
           [(n, 6) for n in range(12)] + [(16, 6), (23, 7)]
           for ns, text in [(facility * 10**9 + level * 10**6 + 123456,
                             b'plain: text %d' % level)]]
RECORDS += [
    (6, 99999 * 10**9 + 999999999, b'late'),
    (6, 100000 * 10**9, b'later'),
    (6, 1234567 * 10**9 + 999, b'much later: x'),
    (3, 5 * 10**9, b'esc \x1b[31m bell \x07 tab\t del \x7f'),
    (3, 6 * 10**9, 'good é 中 bad \u0085'.encode() + b' \xff \xc3 \xe4\xb8.'),
    (4, 7 * 10**9, b'back \\ slash "quotes"'),
    (4, 8 * 10**9, b'   leading and trailing   '),
    (4, 9 * 10**9, b'colour: [1] a: b: c'),
]
RECORDS.sort(key=lambda r: r[1])


def script(records):
    return 'boot x\n' + ''.join(
        'printk %d T1 %d %s\n' % (pri, ns, ESCAPED.sub(
            lambda m: b'\\x%02x' % m[0][0], text).decode())
        for pri, ns, text in records)


def dmesg(*args, locale='C.UTF-8'):
    try:
        out = subprocess.run(['dmesg', *args], stdout=subprocess.PIPE,
                             stderr=subprocess.PIPE,
                             env=dict(ENV, LC_ALL=locale))
    except FileNotFoundError:
        skip('dmesg is not installed')
    if out.returncode:
        skip('dmesg: ' + out.stderr.decode().strip())
    return out.stdout


def needs_2_38():
    if b'util-linux 2.38' not in dmesg('--version'):
        skip('the format was taken from util-linux 2.38')


@case
def lines_of_dmesg():
    needs_2_38()
    g = region(script(RECORDS))
    with open(path('kmsg'), 'wb') as f:
        for pri, ns, text in RECORDS:
            f.write(b'<%d>[%5d.%06d] %s\n'
                    % (pri, ns // 10**9, ns % 10**9 // 1000, text))
    for args in ([], ['-x']):
        for locale in ('C.UTF-8', 'C'):
            same(read('-k', *args, g, env={'LC_ALL': locale}).raw,
                 dmesg('-F', path('kmsg'), *args, locale=locale))


@case
def several_lines_of_dmesg():
    """The indentation of a record's further lines."""
    needs_2_38()
    mark = 'dlog-test-%d-%d' % (os.getpid(), time.time_ns())
    text = mark + '\nsecond\tline \x1b[1m é\n  third: line'
    try:
        with open('/dev/kmsg', 'wb', buffering=0) as f:
            f.write(b'<14>' + text.encode() + b'\n')
    except OSError as err:
        skip('/dev/kmsg: %s' % err)
    for args in ([], ['-x']):
        shown = dmesg(*args).decode('utf-8', 'surrogateescape').splitlines()
        at = [i for i, line in enumerate(shown) if line.endswith(mark)]
        if not at:
            skip('the kernel did not take the line (rate limit)')
        want = shown[at[0]:at[0] + 3]
        m = re.search(r'\[ *(\d+)\.(\d+)\]', want[0])
        ns = int(m[1]) * 10**9 + int(m[2]) * 1000
        g = region(script([(14, ns, text.encode())]))
        same(read('-k', *args, g).lines, want)


@case
def wall_clock_of_dmesg():
    """-T, on a clock that began at the epoch of dmesg's boot."""
    needs_2_38()
    with open(path('kmsg'), 'w') as f:
        f.write('<6>[    5.000000] x\n')
    want = dmesg('-T', '-F', path('kmsg')).decode()
    at = calendar.timegm(time.strptime(want[1:25], '%a %b %d %H:%M:%S %Y'))
    g = region('boot x\nclock 5000000000 %d500000000\nprintk 6 - 5000000000 x\n'
               % at)
    same(read('-T', g).out, want)


if __name__ == '__main__':
    main()
