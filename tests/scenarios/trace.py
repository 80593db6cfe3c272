#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Trace events, markers and functions of real guests in the ring.

What must be there is said by somebody else each time: a program that makes a
known number of system calls, ftrace's own files in the guest, /proc/kallsyms,
/proc/modules.  The catalog is read by a few lines of Python (docs/abi.md, 8),
records by dlog-read.
"""

import base64
import collections
import gzip
import os
import re
import struct
import subprocess
import sys
import tempfile

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from lib.case import case, main, until  # noqa: E402 (needs the path above)
from lib.world import BUILD, World, entries  # noqa: E402

EVENTS = '/sys/kernel/tracing/events/'
DLOGIOC = os.path.join(BUILD, 'tests/dlogioc')

# A program that reads and writes N times, and its process id.
DD = "sh -c 'echo $$; exec dd if=/dev/zero of=/dev/null bs=1 count=%d' 2>/dev/null"


class Catalog:
    """Event types, objects, bases and symbols in a region's catalog."""

    def __init__(self, path):
        with open(path, 'rb') as f:
            head = f.read(256)
            off, = struct.unpack_from('<Q', head, 160)
            size, = struct.unpack_from('<Q', head, 184)
            f.seek(off)
            self.data = f.read(size)
        self.types, self.objects, self.bases = {}, {}, {}
        self.symbols = collections.defaultdict(list)
        at = 0
        while at + 16 <= size:
            _, length, kind, time = struct.unpack_from('<IHHQ', self.data, at)
            if not kind:
                break
            self.record(kind & 15, kind >> 4,
                        self.data[at + 16:at + 16 + length])
            at += 16 + (length + 7) // 8 * 8
        self.used = at

    def record(self, kind, arg, data):
        if kind == 10:
            assert arg not in self.types
            name, fields, form = data[8:].split(b'\0')[:3]
            lengths = struct.unpack_from('<HHI', data)
            assert lengths[0] == len(name) + 1, name
            assert lengths[2] == (len(form) + 1 if form else 0), name
            self.types[arg] = (name.decode(), fields.decode(), form.decode())
        elif kind == 11:
            assert arg not in self.objects
            self.objects[arg] = data.rstrip(b'\0').decode()
        elif kind == 12:
            at = 0
            while at < len(data):
                end = data.index(b'\0', at + 8)
                self.symbols[arg].append(struct.unpack_from('<II', data, at) +
                                         (data[at + 8:end].decode(),))
                at = end + 1
        elif kind == 13:
            self.bases[arg] = struct.unpack('<IIQ', data)

    def id(self, name):
        ids = [i for i, t in self.types.items() if t[0] == name]
        assert len(ids) == 1, (name, ids)
        return ids[0]

    def resolve(self, address):
        """object name, symbol, offset in it"""
        for number, (_, size, base) in self.bases.items():
            for offset, length, name in self.symbols[number]:
                if 0 <= address - base - offset < (length or 1):
                    return self.objects[number], name, address - base - offset
        return None


def records(w, name):
    """Data of the records of event name, in the order of the ring."""
    number = Catalog(w.region).id(name)
    found = []
    for e in entries(w.region):
        if e['kind'] == 'event' and e['arg'] == number:
            data = bytes.fromhex(e['hex'])
            assert struct.unpack_from('<H', data)[0] == number
            found.append(data)
    return found


def of_pid(data, pid):
    return [d for d in data if struct.unpack_from('<i', d, 4)[0] == pid]


def say(w, command, timeout=60):
    w.guest.must("echo '%s' > /dev/dlog" % command, timeout=timeout)


def healthy(w):
    said = w.guest.must('dmesg')
    bad = re.search(r'.*(BUG|WARNING|Oops|refcount_t|leak).*', said)
    assert not bad, bad.group(0)


def guest(kernel, **more):
    # QEMU 7.2 with a thread for each CPU may execute a stale int3 for ever
    # (see unload_under_load in live.py), and this patches text all the time.
    files = {'/dlogevents.ko': os.path.join(BUILD, 'guest', kernel,
                                            'dlogevents.ko')}
    return World(kernel=kernel, **{'size': '32M', 'files': files, 'mem': '1G',
                                   'accel': 'tcg,thread=single',
                                   'modules': ('drm',), **more})


def same_formats(w, system):
    """Formats in the catalog against the guest's files; how many."""
    files = w.guest.must('cd %s%s && for e in */format; do echo "@@$e"; '
                         'cat $e; done' % (EVENTS, system))
    theirs = {}
    for part in files.split('@@')[1:]:
        path, text = part.split('\n', 1)
        name = '%s:%s' % (system, path.split('/')[0])
        theirs[name], n = re.subn(r'(?m)^ID: \d+\n', '', text)
        assert n == 1
    ours = {name: form for name, _, form in Catalog(w.region).types.values()
            if name.startswith(system + ':')}
    assert ours == theirs, sorted(set(ours) ^ set(theirs))
    return len(ours)


def markers(w):
    say(w, 'event on ftrace:print')
    w.guest.must('i=1; while [ $i -le 300 ]; do echo "number $i" > '
                 '/sys/kernel/tracing/trace_marker; i=$((i + 1)); done')
    w.guest.must('mkdir /sys/kernel/tracing/instances/other && echo other > '
                 '/sys/kernel/tracing/instances/other/trace_marker && '
                 'rmdir /sys/kernel/tracing/instances/other')
    say(w, 'event off ftrace:print')
    w.guest.must('echo unheard > /sys/kernel/tracing/trace_marker')
    texts = [d[16:].split(b'\0')[0] for d in records(w, 'ftrace:print')]
    assert sorted(texts) == sorted(
        [b'number %d\n' % i for i in range(1, 301)] + [b'other\n']), texts


def syscalls(w):
    """As many as dd makes; none once it is switched off."""
    say(w, 'event on raw_syscalls:*')
    say(w, 'event on irq:*')
    say(w, 'event on sched:sched_switch')
    pid = int(w.guest.must(DD % 1000))
    say(w, 'event off raw_syscalls:*')
    silent = int(w.guest.must(DD % 100))
    calls = collections.Counter()
    for d in of_pid(records(w, 'raw_syscalls:sys_enter'), pid):
        # long id at 8, args[6] at 16
        calls[struct.unpack_from('<qQ', d, 8)] += 1
    # One more is the echo.
    assert calls[0, 0] == calls[1, 1] - 1 == 1000, calls
    returned = of_pid(records(w, 'raw_syscalls:sys_exit'), pid)
    assert sum(struct.unpack_from('<qq', d, 8) == (1, 1)
               for d in returned) >= 1000
    assert not of_pid(records(w, 'raw_syscalls:sys_enter'), silent)
    assert records(w, 'sched:sched_switch')
    assert records(w, 'irq:softirq_entry')
    print(same_formats(w, 'irq'), same_formats(w, 'raw_syscalls'), 'formats')


def functions(w):
    """As many as there are calls; addresses have the kernel's own names."""
    w.guest.must('insmod /dlogevents.ko')
    say(w, 'event on raw_syscalls:sys_enter')
    say(w, 'function on __x64_sys_writ*')
    say(w, 'function on __x64_sys_write')
    say(w, 'function on set_fire')
    say(w, 'function on vfs_read')
    pid = int(w.guest.must(DD % 500))
    say(w, 'function off __x64_sys_writ*')
    pid2 = int(w.guest.must(DD % 500))
    say(w, 'function off __x64_sys_write')
    pid3 = int(w.guest.must(DD % 500))
    w.guest.must('echo 3 > /sys/module/dlogevents/parameters/fire')
    say(w, 'function off vfs_read')
    say(w, 'function off set_fire')
    silent = int(w.guest.must(DD % 100))
    say(w, 'event off raw_syscalls:sys_enter')
    names = collections.defaultdict(list)
    # Some megabytes, and a serial port.
    packed = w.guest.must("grep -i ' [tw] ' /proc/kallsyms | gzip | base64",
                          timeout=180)
    for line in gzip.decompress(base64.b64decode(packed)).decode().splitlines():
        words = line.split()
        names[int(words[0], 16)].append(
            (words[2], words[3].strip('[]') if words[3:] else 'vmlinux'))

    calls = records(w, 'ftrace:function')
    assert not of_pid(calls, silent)
    enter = records(w, 'raw_syscalls:sys_enter')
    starts = {name: address for address, list_ in names.items()
              for name, _ in list_}

    def called(pid, name):
        found = 0
        for d in of_pid(calls, pid):
            ip, = struct.unpack_from('<Q', d, 8)
            found += 0 <= ip - starts[name] < 16
        return found

    def made(pid, number):
        return sum(struct.unpack_from('<q', d, 8)[0] == number
                   for d in of_pid(enter, pid))
    assert called(pid, '__x64_sys_write') == made(pid, 1) >= 500
    assert called(pid2, '__x64_sys_write') == made(pid2, 1) >= 500
    assert called(pid3, '__x64_sys_write') == 0
    for p in pid, pid2, pid3:
        assert called(p, 'vfs_read') >= 500
    assert sum(0 <= struct.unpack_from('<Q', d, 8)[0] - starts['set_fire'] < 16
               for d in calls) == 1

    until('symbols', lambda: Catalog(w.region).symbols)
    c = Catalog(w.region)
    for d in calls:
        assert d[2] & 0x01 == 0, 'interrupts were on: %r' % d[:4]
        for address in struct.unpack_from('<QQ', d, 8):
            owner, name, offset = c.resolve(address)
            assert (name, owner.split()[0]) in names[address - offset], (
                hex(address), owner, name)
    total = 0
    for number, symbols in c.symbols.items():
        boot, size, base = c.bases[number]
        assert boot == w.boot and size
        assert len({s[0] for s in symbols}) == len(symbols), 'twice'
        for offset, _, name in symbols:
            total += 1
            assert (name, c.objects[number].split()[0]) in \
                names[base + offset]
    modules = dict(re.findall(r'(?m)^(\w+) .* (0x\w+)',
                              w.guest.must('cat /proc/modules')))
    number = next(n for n, name in c.objects.items() if re.fullmatch(
        r'dlogevents [0-9a-f]+', name))
    assert c.bases[number][2] == int(modules['dlogevents'], 16)
    note = w.guest.must('od -An -tx1 -v /sys/module/dlogevents/notes/'
                        '.note.gnu.build-id').split()
    assert c.objects[number] == 'dlogevents ' + ''.join(note[16:])
    assert w.guest.must('uname -r').strip() in next(
        name for name in c.objects.values() if name.startswith('vmlinux '))
    assert (starts['_stext'], starts['_etext'] - starts['_stext']) == next(
        (base, size) for n, (_, size, base) in c.bases.items()
        if c.objects[n].startswith('vmlinux '))
    print(total, 'symbols')


def modules_come_and_go(w):
    """A module's events go with it, and its symbols when it comes again."""
    w.guest.must('modprobe drm')
    say(w, 'event on drm:*')
    w.guest.must('rmmod drm')
    status, _ = w.guest.sh("echo 'event off drm:*' > /dev/dlog")
    assert status != 0, 'events of a module that is gone are on'
    w.guest.must('modprobe drm')
    say(w, 'event on drm:*')
    assert same_formats(w, 'drm') >= 3
    w.guest.must('rmmod drm')
    w.guest.must('rmmod dlogevents')
    # What only its start needs has names too, and goes.
    say(w, 'event on initcall:*')
    w.guest.must('insmod /dlogevents.ko')
    say(w, 'event off initcall:*')

    def start_named():
        c = Catalog(w.region)
        return [c.resolve(struct.unpack_from('<Q', d, 8)[0])
                for d in records(w, 'initcall:initcall_start')]
    until('the name', lambda: start_named() and all(start_named()))
    (owner, name, offset), = start_named()
    assert owner.startswith('dlogevents ') and owner.endswith(' init'), owner
    assert name in ('init_module', 'events_init') and not offset, name
    say(w, 'function on set_fire')
    w.guest.must('echo 1 > /sys/module/dlogevents/parameters/fire')
    say(w, 'function off set_fire')
    base = int(w.guest.must("grep ^dlogevents /proc/modules").split()[5], 16)

    def there():
        c = Catalog(w.region)
        return [b for n, (_, _, b) in c.bases.items()
                if c.objects[n].startswith('dlogevents ') and
                not c.objects[n].endswith(' init')] == [base]
    until('the new base', there)


def kprobe_events(w):
    """An event made at run time stays while it is on, and goes after."""
    files = '/sys/kernel/tracing/kprobe_events'
    w.guest.must("echo 'p:mine vfs_write n=%%dx:u64' > %s" % files)
    say(w, 'event on kprobes:mine')
    pid = int(w.guest.must(DD % 50))
    status, _ = w.guest.sh('echo > ' + files)
    assert status != 0, 'an event that is on was removed'
    say(w, 'event off mine')
    w.guest.must('echo > ' + files)
    status, _ = w.guest.sh("echo 'event on kprobes:mine' > /dev/dlog")
    assert status != 0, 'an event that is no more was switched on'
    ones = [d for d in of_pid(records(w, 'kprobes:mine'), pid)
            if d[16:24] == struct.pack('<Q', 1)]
    assert len(ones) == 50, len(ones)


def unload(w):
    """Everything on, and away; the same ids when it comes again."""
    say(w, 'event on *', timeout=300)
    say(w, 'function on vfs_*')
    w.guest.must(DD % 100, timeout=120)
    w.guest.must('rmmod dlog', timeout=120)
    w.guest.must('test ! -d /sys/kernel/tracing/instances/dlog')
    before = Catalog(w.region)
    assert len(before.types) > 1000, len(before.types)
    assert w.load_driver() == w.boot
    say(w, 'event on *', timeout=300)
    say(w, 'event off *', timeout=300)
    after = Catalog(w.region)
    assert after.types == before.types
    loss = w.loss(w.boot)
    assert all(entry['corrupt'] == entry['torn'] == 0
               for entry in loss.values()), loss
    print(len(after.types), 'event types in', after.used, 'bytes')


def on(kernel, *parts):
    with guest(kernel, create=('--catalog=8M',)) as w:
        w.boot = w.load_driver()
        for part in parts:
            part(w)
            healthy(w)


@case(timeout=600)
def events_on_6_1():
    on('6.1', markers, syscalls, kprobe_events)


@case(timeout=600)
def events_on_6_12():
    on('6.12', markers, syscalls, kprobe_events)


@case(timeout=600)
def functions_on_6_1():
    on('6.1', functions, modules_come_and_go)


@case(long=True, timeout=600)
def functions_on_6_12():
    on('6.12', functions, modules_come_and_go)


@case(timeout=900)
def unload_with_everything_on_6_1():
    on('6.1', unload)


@case(long=True, timeout=900)
def unload_with_everything_on_6_12():
    on('6.12', unload)


@case
def a_full_catalog_is_an_error():
    with guest('6.1', create=('--catalog=64K',)) as w:
        w.boot = w.load_driver()
        say(w, 'event on ftrace:print')
        say(w, 'function on vfs_write')
        status, _ = w.guest.sh("echo 'event on syscalls:*' > /dev/dlog")
        assert status != 0
        said = w.guest.must('dmesg')
        assert "'event on syscalls:*': the catalog is full" in said, said
        assert w.guest.must('dmesg | grep -c "catalog of the region is full"'
                            ).strip() == '1'
        before = Catalog(w.region)
        assert before.used > 63 << 10
        status, _ = w.guest.sh("echo 'event on syscalls:*' > /dev/dlog")
        assert status != 0
        # Symbols are refused long before event types.
        say(w, 'function on __x64_sys_openat')
        w.guest.must("cat /proc/version")
        until('the refusal', lambda: 'no room for more symbols' in
              w.guest.must('dmesg'))
        w.guest.must('echo heard > /sys/kernel/tracing/trace_marker')
        after = Catalog(w.region)
        assert after.data == before.data
        assert records(w, 'ftrace:print')[0][16:].startswith(b'heard\n')
        w.guest.must('rmmod dlog')
        healthy(w)


@case
def what_another_kernel_adds_to_the_catalog_stays():
    """As one that reads an image of hibernation back and goes."""
    with World(kernel='6.1', size='32M') as w:
        w.load_driver()
        say(w, 'function on vfs_write')
        until('symbols', lambda: Catalog(w.region).symbols)
        subprocess.run([os.path.join(BUILD, 'tests/mkregion'), w.region,
                        'other:one', 'u32 a'], check=True)
        assert Catalog(w.region).id('other:one')
        say(w, 'function on vfs_read')
        w.guest.must('cat /proc/version')

        def named():
            return 'vfs_read' in [s[2] for symbols in
                                  Catalog(w.region).symbols.values()
                                  for s in symbols]
        until('the name', named)
        assert Catalog(w.region).id('other:one') == 2
        say(w, 'event on ftrace:print')
        assert Catalog(w.region).id('ftrace:print') == 3


@case
def addresses_that_find_no_place_are_counted():
    """More addresses than symbols.c has places for, in markers."""
    words, places = 150000, 1 << 17
    path = tempfile.mkstemp(prefix='dlog-words-')[1]
    try:
        with open(path, 'wb') as f:
            f.write(struct.pack('<%dQ' % words, *range(
                0xffffffffc0000000, 0xffffffffc0000000 + 8 * words, 8)))
        with World(kernel='6.1', size='32M', files={
                '/words': path, '/bin/dlogioc': DLOGIOC}) as w:
            def lost():
                return int(re.search(r'(?m)^symbols_lost\t(\d+)', w.guest.must(
                    'dlogioc show 5')).group(1))
            w.load_driver()
            say(w, 'event on ftrace:print')
            assert lost() == 0
            w.guest.must('dd if=/words bs=800 of=/sys/kernel/tracing/'
                         'trace_marker 2>/dev/null', timeout=200)
            print(lost())
            assert words - places <= lost() < words / 2
            say(w, 'event off ftrace:print')
            w.guest.must('rmmod dlog')
            healthy(w)
    finally:
        os.remove(path)


if __name__ == '__main__':
    main()
