#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""dlog-create: options, what it makes, what it refuses."""

import json
import os
import stat
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from cli import CREATE, case, fails, path, read, run, same  # noqa: E402
from lib.case import main  # noqa: E402

MIB = 1 << 20


def create(*args, env=None):
    return run(CREATE, *args, env=env)


def stats(file):
    return json.loads(read('--stats', '-o', 'json', file).out)


@case
def defaults():
    r = create(path('a'))
    same((r.code, r.err), (0, ''))
    st = os.lstat(path('a'))
    same(stat.S_IMODE(st.st_mode), 0o600)
    same(st.st_size, 16 * MIB)
    assert st.st_blocks * 512 >= 16 * MIB, 'blocks are not allocated'
    s = stats(path('a'))
    same((s['region_size'], s['rings'], s['label']), (16 * MIB, 4, ''))
    assert 'dlog-qemu %s -- ' % path('a') in r.out
    assert '4 rings' in r.out
    same(read('--check', path('a')).code, 0)


@case
def options_are_kept():
    r = create('-s', '2M', '-r', '3', '--subbuf', '8K', '-l', 'web – 1',
               '-u', '01234567-89ab-cdef-0123-456789abcdef', '--cpus', '5',
               '--boots', '9', '--catalog', '64K', path('a'))
    same((r.code, r.err), (0, ''))
    s = stats(path('a'))
    same([s[k] for k in ('region_size', 'rings', 'subbuf_size', 'label',
                         'uuid', 'cpu_slots', 'boot_slots', 'catalog_size')],
         [2 * MIB, 3, 8192, 'web – 1', '0123456789abcdef0123456789abcdef',
          5, 9, 65536])


@case
def sizes():
    for text, size in (('1M', MIB), ('1048576', MIB), ('1024k', MIB),
                       ('1MiB', MIB)):
        same(create('-qf', '-s', text, path('a')).code, 0)
        same(os.path.getsize(path('a')), size)
    for text in ('', 'M', '1X', '1MB', '-1', '+1', ' 1', '0', '1.5M',
                 '99999999999999999999', '99999999999T'):
        fails(create('-s', text, path('b')), 2, text)
    for text in ('1', '4K', '1000000'):
        fails(create('-q', '-s', text, path('b')), 1, path('b'))
    assert not os.path.exists(path('b'))


@case
def power_of_two():
    r = create('-s', '3M', path('a'))
    same(r.code, 0)
    assert 'ivshmem' in r.err
    same(create('-qf', '-s', '3M', path('a')).err, '')
    fails(create('--ivshmem', '-s', '3M', path('b')), 2, 'ivshmem', '4096K')
    assert not os.path.exists(path('b'))
    same(create('--ivshmem', '-s', '4M', path('b')).code, 0)


@case
def two_regions_differ():
    create('-q', '-s', '1M', path('a'))
    create('-q', '-s', '1M', path('b'))
    assert stats(path('a'))['uuid'] != stats(path('b'))['uuid']


@case
def what_exists_is_left_alone():
    with open(path('a'), 'w') as f:
        f.write('precious')
    fails(create('-s', '1M', path('a')), 1, path('a'), 'exists')
    with open(path('a')) as f:
        same(f.read(), 'precious')
    same(create('-fq', '-s', '1M', path('a')).code, 0)
    same(os.path.getsize(path('a')), MIB)


@case
def symlinks_and_directories():
    with open(path('target'), 'w') as f:
        f.write('precious')
    os.symlink('target', path('link'))
    os.symlink('nowhere', path('dangling'))
    os.mkdir(path('dir'))
    for name in ('link', 'dangling', 'dir'):
        for force in ('-q', '-f'):
            fails(create(force, '-s', '1M', path(name)), 1, path(name))
    with open(path('target')) as f:
        same(f.read(), 'precious')
    assert not os.path.exists(path('nowhere'))
    fails(create(path('no/such/a')), 1, path('no/such/a'))
    same(sorted(os.listdir(path('.'))), ['dangling', 'dir', 'link', 'target'])


@case
def wrong_usage():
    for args, word in (((), 'file'), (('a', 'b'), 'one file'),
                       (('-z', 'a'), "'z'"), (('--bogus', 'a'), 'bogus'),
                       (('-r', '0', 'a'), "'0'"), (('-r', 'x', 'a'), "'x'"),
                       (('-u', '123', 'a'), "'123'"),
                       (('-u', 'g' * 32, 'a'), 'UUID'),
                       (('-u', '0123456-789ab-cdef-0123-456789abcdef', 'a'),
                        'UUID'),
                       (('-l', 'x' * 65, 'a'), '64')):
        r = create(*args)
        fails(r, 2, word, '--help')
    assert not os.path.exists(path('a'))
    for args, word in ((('-r', '2000', 'a'), '1024'),
                       (('--subbuf', '5K', 'a'), '5120'),
                       (('--boots', '9999', 'a'), '9999')):
        fails(create(*args), 1, word)
    same(create('-l', 'x' * 64, '-q', 'a').code, 0)
    same(stats('a')['label'], 'x' * 64)


@case
def help_and_version():
    r = create('--help')
    same((r.code, r.err), (0, ''))
    assert '--size' in r.out and max(map(len, r.lines)) <= 80
    r = create('-V')
    same(r.code, 0)
    assert r.out.startswith('dlog-create ')


if __name__ == '__main__':
    main()
