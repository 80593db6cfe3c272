#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Both readers against the vectors in the tree, and the vectors against the
program that made them.

reader.py was written from docs/abi.md alone; dlog-read is libdlog; NAME.json
is what the writer's test program noted while it wrote.  All three must agree.
"""

import gzip
import json
import os
import subprocess
import sys
import tempfile

sys.dont_write_bytecode = True
HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), 'scenarios'))
sys.path.insert(0, HERE)

from lib.case import case, main  # noqa: E402 (needs the path above)
import compare  # noqa: E402

VECTORS = os.path.join(os.path.dirname(HERE), 'vectors')
BUILD = os.path.join(os.path.dirname(os.path.dirname(HERE)),
                     os.environ.get('DLOG_BUILD') or 'build')


def names():
    found = sorted(name[:-7] for name in os.listdir(VECTORS)
                   if name.endswith('.img.gz'))
    assert len(found) >= 7, found
    return found


def unpacked(name, ext):
    with gzip.open(os.path.join(VECTORS, '%s.%s.gz' % (name, ext))) as f:
        return f.read()


@case
def readers_agree_with_the_writer():
    for name in names():
        with tempfile.NamedTemporaryFile() as f:
            f.write(unpacked(name, 'img'))
            f.flush()
            noted = [compare.parse(line) for line in
                     unpacked(name, 'json').splitlines()]
            theirs = compare.second_reader(f.name)
            assert theirs == noted, 'reader.py differs on ' + name
            ours = compare.libdlog(f.name)
            assert ours == compare.joined(noted), 'libdlog differs on ' + name
            print('%s: %d records' % (name, len(noted)))


@case
def names_are_resolved():
    """What docs/abi.md sections 7 and 8 make of CALL, of an event with a
    format, and of OBJECT, SYMBOLS and BASE."""
    with tempfile.NamedTemporaryFile() as f:
        f.write(unpacked('names', 'img'))
        f.flush()
        out = subprocess.run([os.path.join(BUILD, 'bin', 'dlog-read'),
                              '-o', 'json', f.name], check=True,
                             stdout=subprocess.PIPE).stdout
    call, tick = [e for e in map(json.loads, out.splitlines())
                  if e['kind'] in ('call', 'event')]
    assert call['text'] == ('call: kernel_read(0x1234) = 0xfffffffffffffffe: '
                            'file is an error, called from f+0x1/0x2'), call
    assert call['level'] == 2, call
    assert tick['name'] == 'test:tick' and tick['pid'] == 42, tick
    assert tick['fields']['n'] == -7, tick
    assert tick['fields']['ip'] in (0xffffffff81001010,
                                    '0xffffffff81001010'), tick
    assert 'do_thing+0x10' in tick['text'] and 'n=-7' in tick['text'], tick


@case
def blocks_are_unrolled():
    """Sections 7's BLOCKS: both readers, and what mkvectors.c says."""
    with tempfile.NamedTemporaryFile() as f:
        f.write(unpacked('blocks', 'img'))
        f.flush()
        shown = subprocess.run([os.path.join(BUILD, 'bin', 'dlog-read'),
                                '--blocks', '-c', '5', '-o', 'json', f.name],
                               check=True, stdout=subprocess.PIPE).stdout
        other = subprocess.run([sys.executable, '-B',
                                os.path.join(HERE, 'reader.py'), f.name],
                               check=True, stdout=subprocess.PIPE).stdout
    ours = []
    for o in map(json.loads, shown.splitlines()):
        assert o['executed'] == sum(n for _, n in ours), o
        ours += [(int(b['address'], 16), b['instructions'])
                 for b in o.get('loop', [o])] * o.get('times', 1)
    theirs = []
    for record in map(json.loads, other.splitlines()):
        if 'blocks' not in record or record['blocks']['cpu'] != 5:
            continue
        assert record['blocks']['executed'] == sum(n for _, n in theirs)
        for b in record['blocks']['blocks']:
            if 'repeat' not in b:
                theirs.append((b['address'], b['instructions']))
            for _ in range(b.get('blocks', 0)):
                theirs.append(theirs[-b['repeat']])
    high = (0xffffffff81000000, 127), (0xff00000000001000, 3)
    assert theirs == [(0xfffffff0, 1), *high * 501, high[0],
                      (0x00fffffffffffff8, 2), (0x10, 1), (0x20, 1),
                      *[(0x30, 1)] * 1000001]
    assert ours == theirs


@case
def the_writer_still_writes_these():
    """gcc, clang and 32-bit code write the same bytes."""
    for program in ('mkvectors', 'mkvectors.clang', 'mkvectors.m32'):
        with tempfile.TemporaryDirectory() as folder:
            subprocess.run([os.path.join(BUILD, 'tests', program), folder],
                           check=True)
            assert len(os.listdir(folder)) == 2 * len(names())
            for name in names():
                for ext in ('img', 'json'):
                    path = os.path.join(folder, name + '.' + ext)
                    with open(path, 'rb') as f:
                        assert f.read() == unpacked(name, ext), (program, name)


if __name__ == '__main__':
    main()
