#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""dlog-read --symbols and --function: names of code where each boot's kernel
was, from System.map, /proc/kallsyms and an ELF file."""

import os
import struct
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from cli import case, fails, lines, objects, path, read, region, same  # noqa: E402
import ftrace  # noqa: E402
from lib.case import main  # noqa: E402

LINKED = 0xffffffff81000000     # where the file has the kernel
MOVED = 0xffffffff9a200000      # where a boot had it
MODULE = 0xffffffffc0000000

SYMBOLS = (('_stext', 0), ('do_one', 0x1000), ('do_two', 0x2000),
           ('last', 0x3000))


def record(base, ns, ip, parent):
    return ftrace.function(ns, base + ip, base + parent)


def two_boots():
    """One where the file says, one moved; each calls do_one from do_two, then
    do_two from last, then what nobody knows."""
    script = ''
    for base in (LINKED, MOVED):
        script += 'kernel %#x\nboot 6.1\n' % base
        script += record(base, 1000, 0x1000, 0x2010)
        script += record(base, 2000, 0x2000, 0x3004)
        script += record(base, 3000, 0x3000 + 0x100000, 0x1001)
    return region(script)


def system_map(base=LINKED):
    name = path('System.map')
    with open(name, 'w') as f:
        for symbol, at in SYMBOLS:
            f.write('%016x T %s\n' % (base + at, symbol))
            f.write('%016x D data_of_%s\n' % (base + at + 8, symbol))
    return name


def vmlinux():
    source = '.text\n.globl _stext\n_stext:\n'
    at = 0
    for symbol, to in SYMBOLS[1:]:
        source += '.skip %d\n.type %s, @function\n%s: ret\n.skip 255\n' \
                  '.size %s, 256\n' % (to - at, symbol, symbol, symbol)
        at = to + 256
    subprocess.run(['gcc', '-nostdlib', '-static', '-no-pie', '-x',
                    'assembler', '-', '-Wl,-e,_stext', '-Wl,-z,norelro',
                    '-Wl,--build-id=none', '-Wl,-Ttext=%#x' % LINKED, '-o',
                    path('vmlinux')], input=source.encode(), check=True)
    return path('vmlinux')


def calls(*args):
    return [o['text'].split(': ', 1)[1].split() for o in objects(*args)]


ONE = ['do_one', '<--', 'do_two']
TWO = ['do_two', '<--', 'last']


def no_name(base, at):
    return '0x%x' % (base + at)


@case
def without_a_file():
    got = calls(two_boots())
    same(got[0], [no_name(LINKED, 0x1000), '<--', no_name(LINKED, 0x2010)])


@case
def moved_with_each_boot():
    g = two_boots()
    for file in (system_map(), vmlinux()):
        got = calls('--symbols', file, g)
        same(got[:2], [ONE, TWO])
        same(got[3:5], [ONE, TWO])
        # far behind the last symbol it is not that one
        same(got[2], [no_name(LINKED, 0x103000), '<--', 'do_one'])
        same(got[5], [no_name(MOVED, 0x103000), '<--', 'do_one'])


@case
def sizes_count():
    """vmlinux says where a function ends, System.map does not."""
    g = region('boot 6.1\n' + record(LINKED, 1, 0x10ff, 0x1100))
    same(calls('--symbols', vmlinux(), g),
         [['do_one', '<--', no_name(LINKED, 0x1100)]])
    same(calls('--symbols', system_map(), g), [['do_one', '<--', 'do_one']])


@case
def modules_only_where_they_were():
    """/proc/kallsyms of one boot: modules of another lie elsewhere."""
    script = ''
    for base in (LINKED, MOVED):
        script += 'kernel %#x\nboot 6.1\n' % base
        script += ftrace.function(1000, MODULE + 0x40, base + 0x1000)
    kallsyms = system_map(MOVED)
    with open(kallsyms, 'a') as f:
        f.write('%016x t mod_do\t[mod]\n' % (MODULE + 0x40))
    same(calls('--symbols', kallsyms, region(script)),
         [[no_name(MODULE, 0x40), '<--', 'do_one'],
          ['mod_do', '<--', 'do_one']])


@case
def modules_that_come_and_go():
    """By the region's own symbols: where one module was another one is."""
    script = 'boot 6.1\n'
    for number, name in (1, b'early'), (2, b'late'):
        script += 'catalog 11 %d 0 %s\ncatalog 12 %d 0 %s\n' % (
            number, b'module\0'.hex(),
            number, (struct.pack('<II', 0, 64) + name + b'\0').hex())
    for ns, number, size, base in ((500, 1, 4096, MODULE), (1500, 1, 0, 0),
                                   (1600, 2, 4096, MODULE)):
        script += 'catalog 13 %d %d %s\n' % (
            number, ns, struct.pack('<IIQ', 1, size, base).hex())
    for ns in 1000, 2000:
        script += record(MODULE, ns, 0, 0)
    g = region(script)
    same(calls(g), [['early', '<--', 'early'], ['late', '<--', 'late']])
    for name, ns in ('early', 1000), ('late', 2000):
        same([round(o['time'] * 10**9)
              for o in objects('--function', name, g)], [ns])


@case
def by_function():
    g = two_boots()
    file = system_map()

    def times(*args):
        return [(o['boot'], round(o['time'] * 10**9))
                for o in objects('--symbols', file, *args, g)]

    same(times('--function', 'do_one'), [(1, 1000), (2, 1000)])
    same(times('--function', 'do_*'), [(1, 1000), (1, 2000), (2, 1000),
                                       (2, 2000)])
    same(times('--function', 'last'), [])
    same(times('-b', '2', '--function', '*_two'), [(2, 2000)])
    # what has no name is of no function
    same(lines('--function', '*', g), [])


@case
def wrong_files():
    g = two_boots()
    with open(path('user'), 'w') as f:
        f.write('0000000000000000 T _stext\n0000000000000000 T do_one\n')
    fails(read('--symbols', path('user'), g), 2, 'user', 'root')
    with open(path('stripped'), 'wb') as f:
        f.write(open(vmlinux(), 'rb').read())
    subprocess.run(['strip', path('stripped')], check=True)
    fails(read('--symbols', path('stripped'), g), 2, 'neither System.map')
    with open(path('short'), 'wb') as f:
        f.write(open(vmlinux(), 'rb').read()[:100])
    fails(read('--symbols', path('short'), g), 2, 'neither System.map')
    fails(read('--symbols', path('none'), g), 2, 'No such file')


if __name__ == '__main__':
    main()
