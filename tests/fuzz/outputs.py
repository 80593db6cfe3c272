#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Damaged regions through dlog-read's formats for other tools, under ASan and
UBSan; what comes out is read by those tools, without an error.

Relies on `make asan`, tests/fuzz/mutate.c for the damage, and babeltrace2.
"""

import os
import shutil
import subprocess
import sys
import tempfile

sys.dont_write_bytecode = True

from sanitized import (BUILD, READ, file_of, mutate, run,  # noqa: E402
                       unpacked)
from lib.case import case, main, skip  # noqa: E402


def read(*args):
    """dlog-read's output, None if it refused the file."""
    out = run(READ, *args, status=(0, 2))
    assert out.returncode or not out.stderr or b'superblock' in out.stderr \
        or b'no guest' in out.stderr, out.stderr
    return None if out.returncode else out.stdout


def entries(data):
    """Entries of a journal export, each a dictionary of its fields."""
    out, entry, at = [], {}, 0
    while at < len(data):
        end = data.index(b'\n', at)
        line, at = data[at:end], end + 1
        if not line:
            assert entry
            out.append(entry)
            entry = {}
            continue
        name, equals, value = line.partition(b'=')
        if not equals:
            size = int.from_bytes(data[at:at + 8], 'little')
            value = data[at + 8:at + 8 + size]
            at += 8 + size
            assert data[at:at + 1] == b'\n'
            at += 1
        assert name not in entry and name.replace(b'_', b'').isalnum(), name
        entry[name] = value
    assert not entry
    return out


def check(region, folder):
    """Same number of records by each way; True if there are any."""
    json = read('-o', 'json', region)
    export = read('-o', 'export', region)
    assert (json is None) == (export is None)
    ctf, pstore = os.path.join(folder, 'ctf'), os.path.join(folder, 'pstore')
    done = [read('-q', '-o', os.path.basename(d), '-w', d, region)
            for d in (ctf, pstore)]
    assert done == [None if json is None else b''] * 2, done
    if json is None:
        assert not os.path.exists(ctf) and not os.path.exists(pstore)
        return False
    count = json.count(b'\n')
    got = entries(export)
    assert len(got) == count, (len(got), count)
    for entry in got:
        assert 0 < int(entry[b'__REALTIME_TIMESTAMP']) < 1 << 55
        assert int(entry[b'__MONOTONIC_TIMESTAMP']) < 1 << 55
        assert len(bytes.fromhex(entry[b'_BOOT_ID'].decode())) == 16
    if count:
        out = subprocess.run(['babeltrace2', ctf], stdout=subprocess.PIPE,
                             stderr=subprocess.PIPE)
        assert out.returncode == 0, out.stderr.decode(errors='replace')
        lines = out.stdout.count(b'\n')
        assert lines == count, (lines, count)
    shutil.rmtree(ctf)
    shutil.rmtree(pstore)
    return count > 0


def damage(count, seed, *files):
    if not shutil.which('babeltrace2'):
        skip('babeltrace2 is not installed')
    with tempfile.TemporaryDirectory(prefix='dlog-fuzz-') as folder:
        mutate('mutate', '--count=%d' % count, '--seed=%d' % seed,
               '--keep=' + folder, *files)
        read_any = 0
        for i in range(1, count + 1):
            region = os.path.join(folder, str(i))
            try:
                read_any += check(region, folder)
            except AssertionError:
                kept = os.path.join(BUILD, 'tests', 'fuzz-output.img')
                shutil.copy(region, kept)
                print('the region is kept as', kept)
                raise
            os.unlink(region)
    print('%d of %d had records' % (read_any, count))
    assert read_any > count // 4


def real(count, seed):
    with file_of(unpacked('real')) as region:
        damage(count, seed, region)


@case(timeout=300)
def forty_made():
    damage(40, 1)


@case(timeout=300)
def forty_real():
    real(40, 2)


@case(long=True, timeout=7200)
def thousands():
    damage(3000, 3)
    real(3000, 4)


if __name__ == '__main__':
    main()
