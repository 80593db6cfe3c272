#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Probes of the QEMU plugin: they fire as often as the guest's own kprobes
count, record what is there, and a bad line keeps QEMU from starting.

Relies on build/lib/libdlog-plugin.so, build/bin and guests by PVH, which has
no KASLR: there the kernel's own /proc/kallsyms is right for each boot.
"""

import collections
import json
import os
import re
import subprocess
import sys
import tempfile

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from lib import image  # noqa: E402 (needs the path above)
from lib.case import case, main  # noqa: E402
from lib.guest import Guest  # noqa: E402
from lib.world import BUILD, TREE, tool  # noqa: E402

PLUGIN = os.path.join(BUILD, 'lib/libdlog-plugin.so')
RECIPE = os.path.join(TREE, 'qemu-plugin/recipes/printk.probes')
TRIXIE = 'trixie'
DEBIAN_12 = 'qemu-system-x86_64'


def kallsyms(kernel):
    """The kernel's symbols: asked of a guest once, kept in the cache."""
    path = os.path.join(image.Kernel(kernel).dir, 'kallsyms')
    if not os.path.exists(path):
        with Guest(kernel=kernel, smp=1, accel='tcg,thread=single') as guest:
            # A serial port is slow: functions, what the recipe names, and
            # where the kernel begins and ends.
            text = guest.must(r"grep ' [tT] \| [dD] prb$\| _[a-z]*$' "
                              '/proc/kallsyms | grep -v __pfx_',
                              timeout=250).replace('\r', '')
        assert text.count('\n') > 40000, text[-200:]
        with open('%s.%d' % (path, os.getpid()), 'w') as f:
            f.write(text)
        os.rename(f.name, path)
    return path


Record = collections.namedtuple('Record', 'time vcpu name fields')


class Run:
    """A guest with probes, and afterwards what they recorded."""

    def __init__(self, probes, options='', smp=1, kernel='6.1', **guest):
        self.folder = tempfile.TemporaryDirectory()
        self.region = os.path.join(self.folder.name, 'plugin.img')
        self.file = os.path.join(self.folder.name, 'probes')
        with open(self.file, 'w') as f:
            f.write(probes)
        tool('dlog-create', '-q', '-s', '32M', '-r', str(smp + 1), self.region)
        self.smp = smp
        self.guest = Guest(smp=smp, kernel=kernel, qemu_args=[
            '-plugin', '%s,region=%s,probes=%s,symbols=%s%s' % (
                PLUGIN, self.region, self.file, kallsyms(kernel), options)],
            **guest)

    def __enter__(self):
        self.guest.__enter__()
        return self

    def __exit__(self, *what):
        self.guest.__exit__(*what)
        if not what[0]:
            self.folder.cleanup()

    def end(self):
        """Ends QEMU; its records."""
        self.guest.quit()
        self.entries = [json.loads(line) for line in tool(
            # A guest that died in early boot has been started once more.
            'dlog-read', '-b', '0', '-o', 'json', self.region).splitlines()]
        self.records = []
        for e in self.entries:
            if e['kind'] != 'event':
                continue
            name, rest = e['text'].split(': ', 1)
            self.records.append(Record(e['time'], e['ring'], name, dict(
                f.split('=', 1) for f in rest.split(' '))))

    def of(self, name):
        return [r for r in self.records if r.name == name]

    def counts(self):
        """Hits and records of each probe, as told at the end."""
        last = {}
        for r in self.of('dlog:probe'):
            last[r.fields['name']] = (int(r.fields['hits']),
                                      int(r.fields['recorded']))
        return last


# ---- counts ----

# Between two hostnames nothing else in the guest runs these functions.
COUNTED = 'exec mark __x64_sys_sethostname\n' \
          'exec opens do_sys_openat2\n' \
          'exec exits do_exit\n' \
          'exec forks kernel_clone\n'

KPROBES = r'''
cd /sys/kernel/tracing
echo 'p:mark __x64_sys_sethostname
p:opens do_sys_openat2
p:exits do_exit
p:forks kernel_clone' > kprobe_events
echo global > trace_clock
echo 1 > events/kprobes/enable
cd /root
mkdir -p names; : > names/one; : > names/two
hostname first
for i in $(seq 40); do
	cat names/one > /dev/null & cat names/two names/none 2> /dev/null
done
wait
hostname second
echo 0 > /sys/kernel/tracing/events/kprobes/enable
cat /sys/kernel/tracing/kprobe_profile >&2
grep -o ' \(mark\|opens\|exits\|forks\): ' /sys/kernel/tracing/trace
'''


def between(names):
    """How often each name is between the first and the last mark."""
    first = names.index('mark')
    last = len(names) - 1 - names[::-1].index('mark')
    inside = collections.Counter(names[first:last + 1])
    assert inside['mark'] == 2, inside
    return inside


def counts_are_equal(kernel, qemu, smp, **more):
    with Run(COUNTED, kernel=kernel, qemu=qemu, smp=smp, **more) as run:
        theirs = run.guest.must(KPROBES)
        run.end()
    # A kprobe that missed a hit would say so in the third column.
    profile = re.findall(r'^ +(\w+) +(\d+) +(\d+)\s*$', theirs, re.M)
    assert len(profile) == 4 and all(p[2] == '0' for p in profile), profile
    theirs = between(re.findall(r' (\w+): ', theirs))
    ours = between([r.name[len('probe:'):] for r in run.records
                    if r.name.startswith('probe:')])
    print(kernel, qemu, smp, dict(ours))
    assert theirs == ours, (theirs, ours)
    # The kernel may make a thread of its own.
    assert min(ours[n] for n in ('opens', 'exits', 'forks')) > 80, ours
    vcpus = {r.vcpu for r in run.of('probe:opens')}
    assert vcpus == set(range(smp)), vcpus
    for r in run.of('probe:opens'):
        assert int(r.fields['vcpu']) == r.vcpu


@case
def as_often_as_kprobes_on_debian_12():
    counts_are_equal('6.1', DEBIAN_12, 2, accel='tcg,thread=single')


@case(long=True, timeout=900)
def as_often_as_kprobes_with_any_kernel_and_qemu():
    for kernel in '6.1', '6.12':
        for qemu in DEBIAN_12, TRIXIE:
            for smp in 1, 2:
                # QEMU 7.2's threads do not stand code that is patched.
                accel = 'multi' if qemu == TRIXIE else 'single'
                counts_are_equal(kernel, qemu, smp,
                                 accel='tcg,thread=' + accel)


# ---- what is recorded ----

RECORDED = r'''
exec reset  0xfffffff0 once     # the first instruction of firmware
exec opens  do_sys_openat2 $n=%rsi dfd=%rdi:s32 name=str($n) \
	head=str($n,4) raw=bytes($n,3) flags=u64(%rdx):x32
exec mine   do_sys_openat2 \
	if=u64(%rsi)==0x2d656c62756f7274 name=str(%rsi)    # "trouble-"
exec sums   do_sys_openat2 once a=1+2*3 b=(7-9)/2:s64 c=-7%4:s8 d=1<<4|3:u16 \
	e=-1>>60:u8 f=~0:x64 g=!5:u8 h=3>2?10:20:u8 i=-1<1:u8 j=0x10:x8 \
	k=5/(%rdi-%rdi) l=1||5/0:u8 m=u8(16) n=pc==&do_sys_openat2:u8
exec same   do_sys_openat2 text=str(%rsi) pri=0x0b as=text \
	if=u64(%rsi)==0x2d656c62756f7274
exec once   do_sys_openat2 once
exec three  do_sys_openat2 limit=3
exec fifth  do_sys_openat2 every=5
exec rated  do_sys_openat2 rate=2
exec silent do_sys_openat2 quiet
exec never  do_sys_openat2 if=0
# The same place in other words.
exec offset _stext+{offset}..{offset} quiet
exec plus   _stext+{offset}..+{offset} quiet
exec range  {address:#x}..+0 quiet
exec number {address} quiet
exec whole  do_sys_openat2..do_sys_openat2+0 quiet
'''


def symbol(kernel, name):
    with open(kallsyms(kernel)) as f:
        return int(re.search(r'^(\S+) \S %s$' % name, f.read(), re.M)[1], 16)


def record_is_right(kernel, smp, **more):
    address = symbol(kernel, 'do_sys_openat2')
    text = RECORDED.format(address=address,
                           offset=address - symbol(kernel, '_stext'))
    with Run(text, qemu=TRIXIE, kernel=kernel, smp=smp, **more) as run:
        run.guest.must('for i in $(seq 20); do cat /trouble-$i; done 2>&1; '
                       'for i in $(seq 20); do cat trouble-r$i; done 2>&1; '
                       'true')
        run.end()
    total = len(run.of('probe:opens'))
    names = [r.fields['name'] for r in run.of('probe:opens')]
    trouble = ['trouble-r%d' % i for i in range(1, 21)]
    assert [n for n in names if 'trouble' in n] == \
        ['/trouble-%d' % i for i in range(1, 21)] + trouble
    for r in run.of('probe:opens'):
        f = r.fields
        if f['name'] in trouble:
            # AT_FDCWD; O_RDONLY | O_LARGEFILE is what busybox asks for.
            assert (f['dfd'], f['flags']) in (('-100', '0x8000'),
                                              ('-100', '0x0')), f
            assert f['head'] == 'trou' and f['raw'] == '74726f', f
            assert f['unread'] == '0x0', f
    assert [r.fields['name'] for r in run.of('probe:mine')] == trouble
    texts = [e for e in run.entries if e['kind'] == 'text' and
             e['ring'] < smp]
    assert [e['text'] for e in texts] == trouble
    assert {(e['level'], e['facility']) for e in texts} == {(3, 1)}
    sums = run.of('probe:sums')[0].fields
    # k divides by 0, m reads address 16: bits 10 and 12.
    assert {n: sums[n] for n in 'abcdefghijklmn'} == dict(
        a='0x7', b='-1', c='-3', d='19', e='15', f='0xffffffffffffffff',
        g='0', h='10', i='1', j='0x10', k='0x0', l='1', m='0', n='1'), sums
    assert sums['unread'] == hex(1 << 10 | 1 << 12), sums
    limits(run, total)
    first = run.of('probe:reset')[0].fields
    assert first['pc'] == '0xfffffff0' and first['hit'] == '1', first
    # No vCPU but the first one starts by itself.
    assert first['executed'] == '0' and first['vcpu'] == '0', first


def limits(run, total):
    counts = run.counts()
    assert total > 60
    assert counts['opens'] == (total, total)
    assert counts['once'] == (total, 1) and len(run.of('probe:once')) == 1
    assert counts['three'] == (total, 3)
    assert [r.fields['hit'] for r in run.of('probe:three')] == ['1', '2', '3']
    assert counts['fifth'] == (total, total // 5)
    assert sorted(int(r.fields['hit']) for r in run.of('probe:fifth')) == \
        list(range(5, total + 1, 5))
    assert counts['silent'] == (total, 0) and not run.of('probe:silent')
    for name in 'offset', 'plus', 'range', 'number', 'whole':
        assert counts[name] == (total, 0), (name, counts)
    assert counts['never'] == (0, 0) and not run.of('probe:never')
    assert counts['mine'] == (20, 20) and counts['same'] == (20, 20)
    rated = run.of('probe:rated')
    assert counts['rated'] == (total, len(rated)) and 2 < len(rated) < total
    assert max(collections.Counter(int(r.time) for r in rated).values()) == 2


@case
def a_record_holds_what_was_there():
    record_is_right('6.1', 1)


@case(long=True)
def a_record_holds_what_was_there_on_6_12():
    record_is_right('6.12', 2)


# ---- printk ----

SAY = r'''
echo "<3>an error" > /dev/kmsg
printf 'of two\nlines' > /dev/kmsg
for i in $(seq 60); do
	echo "<$((i * 7 % 192))>line $i $(printf "%0$((i * 13 % 900))d" $i)"
done > /dev/kmsg
echo h > /proc/sysrq-trigger
timeout 2 cat /dev/kmsg; true
'''


def kmsg_record(line):
    """"PRI,SEQ,USEC,FLAGS...;TEXT", Documentation/ABI/testing/dev-kmsg."""
    head, text = line.split(';', 1)
    pri, _, usec = head.split(',')[:3]
    text = re.sub(rb'\\x([0-9a-f]{2})', lambda m: bytes([int(m[1], 16)]),
                  text.encode())
    return int(pri), int(usec), text.decode()


def lines_are_equal(kernel, smp, accel='tcg,thread=multi', **more):
    with open(RECIPE) as f, \
            Run(f.read(), kernel=kernel, smp=smp, qemu=TRIXIE, accel=accel,
                **more) as run:
        theirs = [kmsg_record(line) for line in
                  run.guest.must(SAY).replace('\r', '').splitlines()
                  if line[:1].isdigit()]
        run.end()
    ours = []
    for e in run.entries:
        if e['kind'] == 'text' and e['ring'] < smp:
            sec, usec, text = re.fullmatch(
                r'\[ *(\d+)\.(\d{6})\] (.*)', e['text'], re.S).groups()
            ours.append((e['facility'] * 8 + e['level'],
                         int(sec) * 1000000 + int(usec), text))
    assert len(theirs) > 250, len(theirs)
    # In time order of the plugin's clock, of equal ones too.
    for mine, other in zip(ours, theirs):
        assert mine == other, '%r\n%r' % (mine, other)
    assert len(ours) == len(theirs), (ours[len(theirs):], theirs[len(ours):])
    print('%s: %d lines equal' % (kernel, len(ours)))


@case
def printk_without_a_driver():
    lines_are_equal('6.1', 2)


@case(long=True, timeout=600)
def printk_without_a_driver_on_6_12():
    lines_are_equal('6.12', 2)


@case(long=True)
def printk_without_a_driver_under_kaslr():
    lines_are_equal('6.1', 1, firmware='seabios')
    lines_are_equal('6.12', 1, firmware='seabios')


# ---- lines that are wrong ----

NO_REGISTERS = 'cannot be read in this QEMU, which speaks plugin API 1: ' \
               'QEMU 9.0 and later can'
NO_MEMORY = 'cannot be read in this QEMU, which speaks plugin API 1: ' \
            'QEMU 9.2 and later can'

BAD = [
    ('jump a 1', 'jump is no kind of probe: exec, read, write or access'),
    ('exec', "behind the kind comes the probe's name"),
    ('exec a', 'where? Behind the name comes an address'),
    ('exec a/b 1', "behind the kind comes the probe's name"),
    ('exec %s 1' % ('n' * 64), "behind the kind comes the probe's name"),
    ('exec a nosuch', 'there is no symbol nosuch: name a file that has it '
     'with symbols=FILE'),
    ('exec a 08z', '"08z" is no number: say 10 or 0x10'),
    ('exec a 0x', '"" is no number'),
    ('exec a 0x10000000000000000', 'a number has 64 bits at the most'),
    ('exec a 18446744073709551616', 'a number has 64 bits at the most'),
    ('exec a 5..4', 'the range ends before it begins'),
    ('exec a 5..4x', '"4x" is no number'),
    ('exec a 5..main', 'a range that begins with a number ends with one'),
    ('exec a 5,6', '",6" is behind the place'),
    ('exec a phys:5', 'exec takes a virtual address or a symbol'),
    ('exec a device:serial', 'exec takes a virtual address or a symbol'),
    ('write a phys:main',
     'behind phys: and port: comes a number'),
    ('write a port:0x10000', 'ports are 0 to 0xffff'),
    ('write a device:', "device: needs the device's name"),
    ('exec a 1 twice', 'twice is neither an option'),
    ('exec a 1 once=2', 'there is a once already'),
    ('exec a 1 limit=0', 'limit= is 1 to'),
    ('exec a 1 every=0', 'every= is 1 to'),
    ('exec a 1 rate=4294967296', 'rate= is 1 to 4294967295'),
    ('exec a 1 limit=x', '"x" is no number'),
    ('exec a 1 +', '"+" is neither an option nor NAME=EXPRESSION'),
    ('exec a 1 b=', 'the expression ends too early'),
    ('exec a 1 b=1+', 'the expression ends too early'),
    ('exec a 1 b=(1', 'a ) is missing before ""'),
    ('exec a 1 b=1)', '")" cannot be understood behind "b=1"'),
    ('exec a 1 b=1?2', 'a : is missing before ""'),
    ('exec a 1 b=@', 'a number, %REGISTER, &SYMBOL, $FIELD or ( has to be at'),
    ('exec a 1 b=foo', 'foo is no part of an expression'),
    ('exec a 1 b=$c', 'no field $c is before this'),
    ('exec a 1 b=$b', 'no field $b is before this'),
    ('exec a 1 b=&nosuch', 'there is no symbol nosuch'),
    ('exec a 1 b=address', 'address is for read, write and access'),
    ('exec a 1 b=1:u7', 'u7 is no type'),
    ('exec a 1 b=1 b=2', 'there is a b already'),
    ('exec a 1 hit=1', 'there is a hit already'),
    ('exec a 1 b=%s1%s' % ('(' * 99, ')' * 99),
     'the expression is nested more than 64 deep'),
    ('exec a 1 b=%s1' % ('-' * 99),
     'the expression is nested more than 64 deep'),
    ('exec a 1 b=1' + '+1' * 600, 'this is too long: a line has 1024'),
    ('exec a 1 ' + ' '.join('f%d=1' % i for i in range(32)),
     '31 fields of a probe can be recorded'),
    ('exec a 1 ' + ' '.join('$f%d=1' % i for i in range(65)),
     'a probe has 64 fields at the most'),
    ('exec a 1 as=json', 'as= can only be text'),
    ('exec a 1 as=text', 'as=text needs the field text'),
    ('exec a 1 as=text text=1', 'the field text has to be str() or bytes()'),
    ('exec a 1 b=1 as=text', 'as=text takes the fields text, pri and stamp'),
    ('# nothing', 'has no probe in it'),
    ('exec a 1\0', 'is no text: there is a NUL in it'),
]

# The same, where memory and registers can be read at all.
BAD_TRIXIE = [
    ('exec a 1 b=%nosuch', 'there is no register %nosuch that can be read'),
    ('exec a 1 b=%', "a register's name has to be behind %"),
    ('exec a 1 b=str(1)+1', "str() is a field's whole value"),
    ('exec a 1 b=str(1):u8', 'str() has no other type'),
    ('exec a 1 b=bytes(1)', 'bytes() needs a length'),
    ('exec a 1 if=str(1)', 'if= has to be a number, not str()'),
    ('exec a 1 b=str(1) c=$b', "str() is a field's whole value"),
    ('exec a 1 as=text text=str(1) pri=str(1)',
     'the field pri has to be a number'),
]

BAD_7_2 = [
    ('exec a 1 b=%rdi', 'probes:2: the probe a: registers (%rdi) ' +
     NO_REGISTERS),
    ('exec a 1 if=%rdi', NO_REGISTERS),
    ('exec a 1 $x=u8(1)', NO_MEMORY),
    ('exec a 1 b=str(1)', 'memory (str()) ' + NO_MEMORY),
]


def refused(qemu, lines):
    if qemu == TRIXIE:
        qemu = os.path.join(image.cache_dir(),
                            'qemu-trixie/bin/qemu-system-x86_64')
    with tempfile.TemporaryDirectory() as folder:
        region = os.path.join(folder, 'plugin.img')
        file = os.path.join(folder, 'probes')
        tool('dlog-create', '-q', '-s', '1M', '-r', '2', region)
        for line, sentence in lines:
            with open(file, 'w') as f:
                f.write('# first\n' + line + '\n')
            # A machine without a CPU that runs: it would wait for ever.
            done = subprocess.run(
                [qemu, '-M', 'none', '-nodefaults', '-display', 'none',
                 '-plugin', '%s,region=%s,probes=%s' % (PLUGIN, region, file)],
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT, timeout=20)
            text = done.stdout.decode(errors='replace')
            assert done.returncode == 1, (line, done.returncode, text)
            assert sentence in text and text.count('\n') == 2, (line, text)
            if 'NUL' not in sentence and 'no probe' not in sentence:
                assert file + ':2: ' in text, (line, text)


@case
def bad_lines():
    refused(DEBIAN_12, BAD + BAD_7_2)


@case
def bad_lines_with_qemu_10():
    refused(TRIXIE, BAD + BAD_TRIXIE)


@case
def printk_is_refused_on_7_2():
    with tempfile.TemporaryDirectory() as folder:
        region = os.path.join(folder, 'plugin.img')
        tool('dlog-create', '-q', '-s', '1M', '-r', '2', region)
        done = subprocess.run(
            [DEBIAN_12, '-M', 'none', '-nodefaults', '-display', 'none',
             '-plugin', '%s,region=%s,probes=%s,symbols=%s' % (
                 PLUGIN, region, RECIPE, kallsyms('6.1'))],
            stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, timeout=60)
    text = done.stderr.decode()
    assert done.returncode == 1 and NO_REGISTERS in text, text


if __name__ == '__main__':
    main()
