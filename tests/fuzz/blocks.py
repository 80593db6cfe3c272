#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Records of kind BLOCKS whose words nobody meant, through dlog-read --blocks
under ASan and UBSan: it ends soon, says what it says twice the same, and shows
no more than it was asked for.

Relies on `make asan`; the damage is tests/fuzz/mutate.c's, and words made here.
"""

import json
import os
import random
import struct
import subprocess
import sys
import tempfile

sys.dont_write_bytecode = True
HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), 'scenarios'))

from lib.case import case, main  # noqa: E402 (needs the path above)

TREE = os.path.dirname(os.path.dirname(HERE))
BUILD = os.path.join(TREE, os.environ.get('DLOG_BUILD') or 'build')
READ = os.path.join(BUILD, 'asan/bin/dlog-read')
KIND_BLOCKS = 14


def read(*args):
    out = subprocess.run([READ, *args], stdout=subprocess.PIPE, timeout=30,
                         stderr=subprocess.PIPE,
                         env=dict(os.environ, ASAN_OPTIONS='exitcode=99',
                                  UBSAN_OPTIONS='exitcode=99'))
    assert out.returncode in (0, 2), (args, out.returncode,
                                      out.stderr.decode(errors='replace'))
    return None if out.returncode else out.stdout


def check(path, lines):
    """Does each CPU show a whole loop, or no more than so many blocks?"""
    args = ['--blocks=%d' % lines, path]
    shown = read('-o', 'json', *args)
    assert (read(*args) is None) == (shown is None)
    cpus = {}
    for line in (shown or b'').splitlines():
        o = json.loads(line)
        cpus.setdefault((o['boot'], o['cpu']), []).append(
            len(o['loop']) if 'loop' in o else 'address' in o)
    for groups in cpus.values():
        assert sum(groups) <= lines or sum(map(bool, groups)) == 1, groups
    return bool(cpus)


def word(few):
    """Blocks of a small program, repeats, and what is neither."""
    kind = random.random()
    if kind < .6:
        return random.choice(few)
    if kind < .9:
        return random.choice((0, 1, 2, 3, 5, 31, 32, 33, 63)) << 51 | \
            random.choice((0, 1, 2, 7, 33, 100, (1 << 51) - 1))
    return random.choice((0, 1, 1 << 57, (1 << 64) - 1, random.getrandbits(64)))


@case
def words():
    random.seed(3)
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, 'region')
        for _ in range(60):
            few = [random.getrandbits(64) | 1 << 57
                   for _ in range(random.randrange(1, 6))]
            script = 'boot x\n'
            for at in range(random.randrange(1, 40)):
                data = struct.pack('<Q', random.choice((0, at, 1 << 63)))
                data += b''.join(struct.pack('<Q', word(few))
                                 for _ in range(random.randrange(100)))
                data = data[:len(data) - random.choice((0, 0, 0, 3, 9))]
                script += 'record %d %d %d %s\n' % (
                    KIND_BLOCKS, random.choice((0, 0, 0, 7, 4095)), at,
                    data.hex())
            subprocess.run([os.path.join(BUILD, 'tests/mkregion'), path],
                           input=script.encode(), check=True)
            assert check(path, random.choice((1, 5, 100, 10 ** 9)))
            os.unlink(path)


@case
def damaged_regions():
    """Open records too: mutate leaves some in each ring."""
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([os.path.join(BUILD, 'tests/mutate'), '--count=120',
                        '--keep=' + folder], check=True,
                       stdout=subprocess.DEVNULL)
        some = sum(check(os.path.join(folder, name), 20)
                   for name in sorted(os.listdir(folder)))
        print(some, 'of them show blocks')
        assert some > 30


if __name__ == '__main__':
    main()
