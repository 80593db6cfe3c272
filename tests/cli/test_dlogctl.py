#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""dlogctl without a guest: what it tells the kernel, by --print; its errors;
help, man page and completion.

Where a symbol lies in a program's file is compared with nm and readelf.  What
it does in a guest is in tests/scenarios/dlogctl.py.
"""

import os
import random
import re
import struct
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import cli  # noqa: E402
from cli import (BUILD, TREE, case, fails, long_options, path,  # noqa: E402
                 run, same)
from lib.case import main, skip  # noqa: E402

CTL = os.path.join(BUILD, 'bin', 'dlogctl')
PAGE = os.path.join(TREE, 'docs', 'man', 'dlogctl.8')


def ctl(*args):
    return run(CTL, *args)


def line(*spec):
    """The kernel's line for a probe."""
    r = ctl('probe', 'add', '--print', *spec)
    same((r.code, r.err), (0, ''))
    return r.out.rstrip('\n')


def refused(spec, *words):
    fails(ctl('probe', 'add', '--print', spec), 1, *words)


@case
def kernel_probes():
    same(line('a f'), 'p:dlog/a f')
    same(line('a', 'f+0x1c', '%ax'), 'p:dlog/a f+0x1c ax=%ax')
    same(line('a f+0 arg1'), 'p:dlog/a f arg1=$arg1')
    same(line('dlog:a mod:f%return ret:s64'),
         'r:dlog/a mod:f ret=$retval:s64')
    same(line('  a \t f   arg6  '), 'p:dlog/a f arg6=$arg6')


@case
def arguments():
    for given, wanted in (
            ('arg1:u64', 'arg1=$arg1:u64'),
            ('$arg2', 'arg2=$arg2'),
            ('n=arg3:s32', 'n=$arg3:s32'),
            ('name=arg2:string', 'name=+0($arg2):string'),
            ('name=+0(arg2):string', 'name=+0($arg2):string'),
            ('arg2:ustring', 'arg2=+0($arg2):ustring'),
            ('s=%si:string', 's=+0(%si):string'),
            ('comm:string', 'comm:string'),
            ('$comm:string', 'comm=$comm:string'),
            ('q=+8(+16(arg1)):x32[4]', 'q=+8(+16($arg1)):x32[4]'),
            ('q=-0x10(%bp)', 'q=-0x10(%bp)'),
            ('b=arg1:b4@2/32', 'b=$arg1:b4@2/32'),
            ('j=@jiffies:u64', 'j=@jiffies:u64'),
            ('at=arg1:symbol', 'at=$arg1:symbol'),
            # What the kernel's BTF names is not ours.
            ('file->f_inode->arg1', 'file->f_inode->arg1'),
            ('argument1', 'argument1'),
            ('arg1x', 'arg1x'),
            ('$stack0', 'stack0=$stack0')):
        same(line('a f ' + given), 'p:dlog/a f ' + wanted)
    same(line('a f%return r=ret:string'), 'r:dlog/a f r=+0($retval):string')
    same(line('a f%return e=+4(ret):u8'), 'r:dlog/a f e=+4($retval):u8')
    same(line('a f%return $retval'), 'r:dlog/a f retval=$retval')


@case
def nonsense_is_refused():
    refused('1a f', "'1a'", 'no name')
    refused('a-b f', 'no name')
    refused('x' * 64 + ' f', 'no name')
    same(line('x' * 63 + ' f'), 'p:dlog/' + 'x' * 63 + ' f')
    refused('a', 'no place')
    refused('a f ret', '%return')
    refused('a f arg7', 'arg6')
    refused('a f+4 arg1', 'entry')
    refused('a f+4z', "'+4z'")
    refused('a f+4%return', 'whole function')
    refused('a f%returns', '%return')
    refused('a f x=', "'x='")
    refused('a f :u8', "':u8'")
    refused('a f +0(arg1):u8', 'needs a name')
    refused('a f\nb g', 'one line')
    refused('a /nowhere/x:f', '/nowhere/x', 'No such file')
    refused('a /etc/passwd', ':SYMBOL')
    refused('a /etc/passwd:f', 'no ELF file')
    refused('a f ' + 'b=arg1 ' * 700, 'bytes')


SOURCE = r'''
int shared(int a) { return a + 1; }
static __attribute__((noinline)) int twice(int a) { return a * 3; }
int other(int a);
int data_only = 3;
int main(int argc, char **argv) { return shared(argc) + twice(argc) +
	other(argc) + data_only + !argv; }
'''
OTHER = r'''
static __attribute__((noinline)) int twice(int a) { return a * 5; }
int other(int a) { return twice(a); }
'''


def program(*flags, name='prog'):
    for source, text in (('a.c', SOURCE), ('b.c', OTHER)):
        with open(path(source), 'w') as f:
            f.write(text)
    out = run('gcc', '-O1', '-o', path(name), path('a.c'), path('b.c'), *flags)
    same((out.code, out.err), (0, ''))
    return path(name)


def offset(prog, symbol):
    """By nm and readelf: address less the segment's address, plus its place."""
    address, = [int(row.split()[0], 16) for row in run('nm', prog).lines
                if re.search(' [Tt] %s$' % symbol, row)]
    for row in run('readelf', '-lW', prog).lines:
        found = re.match(r' +LOAD +(0x\w+) (0x\w+) 0x\w+ (0x\w+)', row)
        if found:
            at, start, size = (int(word, 16) for word in found.groups())
            if start <= address < start + size:
                return address - start + at
    raise AssertionError('readelf shows no segment with ' + symbol)


@case
def programs():
    for flags in (('-no-pie',), ('-pie', '-fPIE'),
                  ('-no-pie', '-Wl,-Ttext-segment=0x12340000')):
        prog = program(*flags)
        real = os.path.realpath(prog)
        at = offset(prog, 'shared')
        same(line('u %s:shared arg1:s32' % prog),
             'p:dlog/u %s:0x%x arg1=%%di:s32' % (real, at))
        same(line('u %s:shared+3' % prog), 'p:dlog/u %s:0x%x' % (real, at + 3))
        same(line('u %s:0x%x arg2 arg3 arg4 arg5 arg6' % (prog, at)),
             'p:dlog/u %s:0x%x arg2=%%si arg3=%%dx arg4=%%cx arg5=%%r8 '
             'arg6=%%r9' % (real, at))
        same(line('u %s:other%%return ret:string' % prog),
             'r:dlog/u %s:0x%x ret=+0($retval):string'
             % (real, offset(prog, 'other')))
        refused('u %s:twice' % prog, '2 functions', '0xOFFSET')
        refused('u %s:nosuch' % prog, prog, 'nosuch')
        refused('u %s:data_only' % prog, 'no function')
        refused('u %s:printf' % prog, 'no function')
        refused('u %s:shared%%return arg1' % prog, 'returns')
    run('strip', prog)
    refused('u %s:shared' % prog, 'stripped' if not run(
        'nm', '-D', prog).lines else 'no function')
    same(line('u %s:0x10' % prog), 'p:dlog/u %s:0x10' % real)


@case
def libraries_by_their_dynamic_symbols():
    lib = program('-shared', '-fPIC', name='lib.so')
    at = offset(lib, 'other')
    run('strip', lib)
    same(line('u %s:other' % lib),
         'p:dlog/u %s:0x%x' % (os.path.realpath(lib), at))


@case
def damaged_programs():
    """No bytes at all make it crash or wait."""
    prog = program('-no-pie')
    with open(prog, 'rb') as f:
        whole = f.read()
    chance = random.Random(5)
    headers = list(range(16, 64))
    shoff = int.from_bytes(whole[40:48], 'little')
    headers += range(shoff, len(whole))
    bad = path('bad')
    for n in range(300):
        data = bytearray(whole)
        if n < 60:
            data = data[:len(data) * n // 60]
        for _ in range(0 if n < 60 else chance.randint(1, 6)):
            data[chance.choice(headers) if n % 2 else
                 chance.randrange(len(data))] = chance.choice(
                     (0, 1, 0x7f, 0x80, 0xff, chance.randrange(256)))
        with open(bad, 'wb') as f:
            f.write(data)
        r = ctl('probe', 'add', '--print', 'u %s:nosuch arg1' % bad)
        same((n, r.code), (n, 1))
        r = ctl('probe', 'add', '--print', 'u %s:shared arg1' % bad)
        assert r.code in (0, 1), (n, r.code)


@case
def tables_without_end():
    """A file whose 60000 sections are all the same symbols is looked at once:
    within seconds."""
    sections, symbols = 60000, 40000
    head = 64 + 24 * symbols
    section = struct.pack('<IIQQQQIIQQ', 0, 2, 0, 0, 64, 24 * symbols, 0, 0, 8,
                          24)
    with open(path('endless'), 'wb') as f:
        f.write(struct.pack('<16sHHIQQQIHHHHHH', b'\x7fELF\2\1\1', 2, 62, 1,
                            0, 64, head, 0, 64, 56, 0, 64, sections, 0))
        f.write(struct.pack('<IBBHQQ', 0, 2, 0, 1, 16, 0) * symbols)
        f.write(section * sections)
    start = time.monotonic()
    refused('u %s:shared' % path('endless'), 'no function')
    assert time.monotonic() - start < 5


@case
def usage():
    for args in ((), ('nonsense',), ('status', 'x'), ('start', 'now'),
                 ('level',), ('event', 'on'), ('event', 'maybe', 'x'),
                 ('events', 'a', 'b'), ('function', 'on'), ('set', 'arm'),
                 ('consumer', 'add', 'a:b'), ('probe', 'add'),
                 ('probe', 'move', 'x'), ('mark',), ('apply',),
                 ('status', '--nonsense'), ('status', '--json=1'),
                 ('messages', '-n'), ('event', 'on', '--all', 'x')):
        fails(ctl(*args), 2, 'dlogctl')
    same(ctl('--version').lines[0].split()[0], 'dlogctl')
    for command in ('status', 'stop', 'probe'):
        r = ctl(command, '--help')
        same((r.code, r.err), (0, ''))
        assert command in r.out and 'Usage' not in r.out


@case
def without_a_driver():
    if os.path.exists('/dev/dlog'):
        skip('this machine has a driver')
    boot = path('boot')
    with open(boot, 'w') as f:
        f.write('start\n')
    for args in (('status',), ('status', '--json'), ('start',), ('events',),
                 ('level', '5'), ('event', 'on', 'sched:*'), ('messages',),
                 ('set', 'arm', 'a'), ('mark', 'hello'),
                 ('probe', 'add', 'a f'), ('apply', boot)):
        fails(ctl(*args), 1, '/dev/dlog', 'modprobe dlog')


@case
def files_are_looked_through_first():
    boot = path('boot')
    for text, number, word in (
            ('start\n\n# a comment\nnonsense 1\n', 4, "'nonsense'"),
            ('probe add a f+4 arg1', 1, 'entry'),
            ('start # now\nprobe ad a f\n', 2, 'add or remove'),
            ('probe add --bad a f\n', 1, '--bad'),
            ('event maybe sched:x\n', 1, 'on or off'),
            ('start\nevent on --bad sched:x\n', 2, '--bad'),
            ('function on --set=x f\n', 1, '--set'),
            ('probe add a ' + 'f' * 5000 + '\n', 1, 'long'),
            ('\r\n  \nprobe\r\n', 3, 'add or remove')):
        with open(boot, 'w') as f:
            f.write(text)
        fails(ctl('apply', boot), 1, '%s:%d: ' % (boot, number), word)
    fails(ctl('apply', path('none')), 1, path('none'), 'No such file')


def complete(*words):
    return cli.complete('dlogctl', 'dlogctl', *words)


@case
def help_page_and_completion_agree():
    shown = long_options(ctl('--help').out)
    assert len(shown) > 8
    with open(PAGE) as f:
        page = f.read().replace('\\-', '-')
    same(long_options(page), shown)
    offered = set()
    for command in ('event', 'probe', 'messages', 'mark', 'status', ''):
        offered |= set(complete(*([command] if command else []), '--'))
    same(offered, shown)
    same(complete('pro'), ['probe', 'probes'])
    same(complete('probe', 'add', '--o'), ['--off'])
    same(complete('set', 'a'), ['arm'])
    same(complete('probe', 'add', '--consumer', 'st'), ['stack', 'stop'])
    for command in complete(''):
        if not command.startswith('-'):
            same(ctl(command, '--help').code, 0)
            assert re.search(r'\b%s\b' % command, page), command


if __name__ == '__main__':
    main()
