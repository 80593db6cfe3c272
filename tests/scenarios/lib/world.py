# SPDX-License-Identifier: GPL-2.0-or-later
"""A guest with a region, a load that numbers its records, and the truth.

    with World(placement='nvdimm', machine='q35') as w:
        w.start_load()
        w.guest.kill9()
        w.check()

The load is tests/scenarios/module/dlogtest.c.  After each append has returned
it stores the number of the record into the oracle, memory of a second file
that nobody but the test knows.  check() asks dlog-read what is in the region
and compares: every record that was committed and not overwritten is there, in
order, once, with the right text; nothing else is; the losses are exact.

Relies on guest.py, on build/bin and on build/guest/KERNEL/*.ko (make guest).
"""

import collections
import json
import mmap
import os
import re
import shutil
import struct
import subprocess
import tempfile
import time

from .guest import Guest

TREE = os.path.dirname(os.path.dirname(os.path.dirname(
    os.path.dirname(os.path.abspath(__file__)))))
BUILD = os.path.join(TREE, os.environ.get('DLOG_BUILD') or 'build')
BIN = os.path.join(BUILD, 'bin')

CONTEXTS = ('task', 'softirq', 'hardirq', 'nmi')
ORACLE_SIZE = 1 << 20
LOAD = '/sys/module/dlogtest/parameters/'
RECORD = re.compile(rb'#([0-9a-f]+)\.([0-9a-f])\.([0-9a-f]+):')

FIND_ORACLE = r'''
for d in /sys/bus/pci/devices/*; do
	[ "$(cat $d/vendor $d/device | tr -d '\n')" = 0x1af40x1110 ] || continue
	set -- $(sed -n 3p $d/resource)
	[ $(($2 - $1 + 1)) = %d ] || continue
	echo 1 > $d/enable
	echo $1; exit 0
done
exit 1
''' % ORACLE_SIZE


def tool(name, *args, ok=(0,)):
    """Runs one of our programs; its standard output, as bytes."""
    done = subprocess.run([os.path.join(BIN, name), *args],
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE)
    if done.returncode not in ok:
        raise AssertionError('%s %s: status %d\n%s' % (
            name, ' '.join(args), done.returncode, done.stderr.decode()))
    return done.stdout


def modules(kernel):
    return {'/%s.ko' % name: os.path.join(BUILD, 'guest', kernel, name + '.ko')
            for name in ('dlog', 'dlogtest')}


def text_of(cpu, context, number):
    """What dlogtest.c writes as this record."""
    length = 24 + (number * 37 + cpu * 11 + context * 5) % 192
    head = b'#%x.%x.%x:' % (cpu, context, number)
    letters = bytes(97 + (number + at) % 26 for at in range(26))
    body = (letters * 10)[len(head) % 26:]
    return (head + body)[:max(length, len(head))]


def entries(path, *args):
    """dlog-read's records, as dictionaries, text as bytes."""
    for line in tool('dlog-read', '-o', 'json', *args, path).splitlines():
        yield json.loads(line)


class World:
    """See above.  placement: nvdimm, ivshmem or ram; size and rings of the
    region, create for more of dlog-create's options, launcher for dlog-qemu's;
    further arguments are Guest's."""

    def __init__(self, placement='nvdimm', size='4M', rings=2, append='',
                 qemu_args=(), files=None, launcher=(), create=(), **guest):
        self.folder = tempfile.mkdtemp(prefix='dlog-world-')
        self.region = os.path.join(self.folder, 'region.img')
        self.oracle = os.path.join(self.folder, 'oracle')
        tool('dlog-create', '-q', '-s', size, '-r', str(rings), *create,
             self.region)
        with open(self.oracle, 'wb') as f:
            f.truncate(ORACLE_SIZE)
        kernel = guest.get('kernel', '6.1')
        self.guest = Guest(
            qemu_prefix=[os.path.join(BIN, 'dlog-qemu'), '--qmp=none',
                         '--placement=' + placement, *launcher, self.region,
                         '--'],
            qemu_args=['-object', 'memory-backend-file,id=oracle,mem-path=%s,'
                       'size=%d,share=on' % (self.oracle, ORACLE_SIZE),
                       '-device', 'ivshmem-plain,memdev=oracle', *qemu_args],
            files=dict(modules(kernel), **(files or {})), append=append,
            **guest)

    def __enter__(self):
        try:
            self.guest.__enter__()
        except BaseException:
            shutil.rmtree(self.folder)
            raise
        return self

    def __exit__(self, kind, value, trace):
        if kind and os.environ.get('DLOG_KEEP_GUEST'):
            print('kept:', self.folder)
        self.guest.__exit__(kind, value, trace)
        if not (kind and os.environ.get('DLOG_KEEP_GUEST')):
            shutil.rmtree(self.folder, ignore_errors=True)

    def load_driver(self, options=''):
        """insmod dlog.ko, with parameters from the kernel's command line, as
        modprobe does it; the number of this boot."""
        self.guest.must("insmod /dlog.ko %s $(tr ' ' '\\n' < /proc/cmdline | "
                        "sed -n 's/^dlog[.]//p')" % options)
        return int(self.guest.must('cat /sys/class/misc/dlog/boot'))

    def load_test(self):
        """insmod dlogtest.ko, with an empty oracle."""
        oracle = self.guest.must(FIND_ORACLE).strip()
        self.guest.must('insmod /dlogtest.ko oracle=' + oracle)
        # What was reserved in each ring before the first numbered record.
        self.before = {ring: records for ring, _, records, _ in self.rings()}

    def rings(self):
        """(ring, position, records, dropped) as sysfs tells."""
        return [tuple(map(int, line.split())) for line in self.guest.must(
            'cat /sys/class/misc/dlog/rings').splitlines()]

    def start_load(self, contexts=15, seconds=1.0, **parameters):
        """Loads both modules if need be, starts the streams, lets them run."""
        if self.guest.sh('test -d ' + LOAD)[0]:
            if self.guest.sh('test -d /sys/class/misc/dlog')[0]:
                self.boot = self.load_driver()
            self.load_test()
        parameters = dict(parameters, contexts=contexts)
        self.guest.must(' && '.join(
            'echo %s > %s%s' % (value, LOAD, name)
            for name, value in parameters.items()))
        self.guest.must('echo 1 > %sload' % LOAD)
        time.sleep(seconds)

    def die(self, how):
        self.guest.sh_nowait('echo %s > %sdie' % (how, LOAD))

    def committed(self):
        """{(cpu, context): last number committed} as the oracle says."""
        with open(self.oracle, 'rb') as f:
            data = f.read(65536)
        assert data[:8] == b'dlogtest', 'the oracle was never set up'
        numbers = {}
        for cpu in range(64):
            for context in range(4):
                at = 4096 + 64 * (cpu * 4 + context)
                number, = struct.unpack_from('<Q', data, at)
                if number:
                    numbers[cpu, context] = number
        return numbers

    def streams(self, boot):
        """{(cpu, context): [numbers]} as dlog-read tells, texts checked."""
        found = collections.defaultdict(list)
        for e in entries(self.region, '-b', str(boot)):
            text = e.get('text', '').encode()
            match = RECORD.match(text) if e['kind'] == 'text' else None
            if not match:
                continue
            cpu, context, number = (int(word, 16) for word in match.groups())
            assert text == text_of(cpu, context, number), \
                'wrong record presented: %r' % text
            assert e['ring'] == cpu % self.nr_rings, e
            found[cpu, context].append(number)
        return found

    def stats(self):
        return json.loads(tool('dlog-read', '--stats', '-o', 'json',
                               self.region))

    def boots(self):
        return [json.loads(line) for line in tool(
            'dlog-read', '--list-boots', '-o', 'json',
            self.region).splitlines()]

    def status(self):
        """The status word, by its name, as dlog-read shows it."""
        return self.stats()['status']

    def end_status(self, boot):
        """How a boot ended, by the boot table."""
        for entry in self.boots():
            if entry['boot'] == boot:
                return entry['status']
        raise AssertionError('boot %d is not in the table' % boot)

    def loss(self, boot):
        """{ring: {records, overwritten, torn, corrupt, dropped, written}}"""
        stats = self.stats()
        self.nr_rings = stats['rings']
        return {entry['ring']: entry for entry in stats['loss']
                if entry['boot'] == boot}

    def check(self, boot=None, committed=None, in_flight=4):
        """Compares the region with the oracle; see above.

        in_flight: records that may be begun or committed, but not yet in the
        oracle: one for each context on each CPU.
        """
        boot = boot or self.boot
        committed = self.committed() if committed is None else committed
        assert committed, 'the load never ran'
        loss = self.loss(boot)
        found = self.streams(boot)
        missing = []
        for stream, last in sorted(committed.items()):
            numbers = found.get(stream, [])
            assert numbers == sorted(set(numbers)), \
                'stream %s: out of order or twice' % (stream,)
            if numbers:
                whole = list(range(numbers[0], numbers[-1] + 1))
                gaps = sorted(set(whole) - set(numbers))
                assert not gaps, 'stream %s: lost %s' % (stream, gaps[:5])
                assert numbers[-1] in (last, last + 1), \
                    'stream %s ends at %d, committed was %d' % (
                        stream, numbers[-1], last)
            else:
                missing.append(stream)
        assert set(found) <= set(committed) | {
            stream for stream, numbers in found.items() if numbers == [1]}
        self.check_loss(committed, found, loss, missing, in_flight)
        return sum(map(len, found.values()))

    def check_loss(self, committed, found, loss, missing, in_flight):
        for ring, entry in loss.items():
            mine = [s for s in committed if s[0] % self.nr_rings == ring]
            assert entry['dropped'] == 0, entry
            # A record that is reserved and has no byte stored yet looks like
            # a corrupt one where an older lap's bytes lie (docs/abi.md, 10).
            unfinished = entry['torn'] + entry['corrupt']
            assert unfinished <= in_flight, entry
            assert entry['written'] == entry['records'] + \
                entry['overwritten'] + unfinished, entry
            numbered = sum(found[s][-1] if found.get(s) else committed[s]
                           for s in mine)
            # Other records (printk, state) may come after the load began.
            others = entry['written'] - numbered - unfinished - \
                self.before.get(ring, 0)
            assert others >= 0, (entry, numbered, self.before)
            lapped = sum((found[s][0] - 1) if found.get(s) else committed[s]
                         for s in mine)
            # The other records that were overwritten are those of before.
            rest = entry['overwritten'] - lapped
            if entry['overwritten']:
                assert 0 <= rest <= self.before.get(ring, 0) + others, \
                    (entry, lapped, self.before)
            else:
                assert lapped == 0, (entry, lapped)
        if missing:
            # Only a lap can have taken a whole stream.
            for cpu, context in missing:
                assert loss[cpu % self.nr_rings]['overwritten'], \
                    'stream %s has vanished' % ((cpu, context),)
