#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The plugin's probes at memory, ports and devices, and trace-writes=on.

tests/tools/accesses.c makes accesses that are known to the last: how many, by
which instruction, where, of which size and value.
"""

import contextlib
import os
import re
import subprocess
import sys
import tempfile

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from lib.case import case, main  # noqa: E402 (needs the path above)
from lib.guest import Guest, GuestError  # noqa: E402
from lib.world import BUILD, World, entries, tool  # noqa: E402

PLUGIN = os.path.join(BUILD, 'lib', 'libdlog-plugin.so')
PROGRAM = os.path.join(BUILD, 'tests', 'accesses')
PAGES = 0x5a5a00000000  # where no program has anything by itself
BAR = 0xfea00000  # of the first shared memory, as SeaBIOS places it
N = 1000

FIND_REGION = '''
for d in /sys/bus/pci/devices/*; do
	[ "$(cat $d/vendor $d/device | tr -d '\\n')" = 0x1af40x1110 ] || continue
	set -- $(sed -n 3p $d/resource)
	[ $(($2 - $1 + 1)) = %d ] || continue
	echo 1 > $d/enable
	ln -s $d/resource2 /region
	echo $1
done
'''

MEMORY = '''
write  words  {0:#x}..{0:#x}+7
read   back   {0:#x}..{0:#x}+7
access sizes  {0:#x}+8..{0:#x}+23
access locked {0:#x}+24..{0:#x}+31
write  vector {0:#x}+32..{0:#x}+47
write  edge   {0:#x}+64..{0:#x}+71
write  cross  {0:#x}+4096..{0:#x}+4099
write  never  {0:#x}+72..{0:#x}+79
'''

PORTS = '''
access echo   port:0xe0..0xe3
write  uart   port:0x3f8..0x3fb
'''

DEVICE = '''
access iomem  device:pc-testdev-iomem
'''

PLACES = '''
write  page   phys:{0:#x}..{0:#x}+0xfff where=physical:x64
write  behind phys:{0:#x}+0x1000..{0:#x}+0x1003
'''


def probe_lines(text, **numbers):
    """Addresses as the file wants them: no sums."""
    return re.sub(r'(0x[0-9a-f]+)\+(0x[0-9a-f]+|\d+)',
                  lambda m: hex(int(m[1], 16) + int(m[2], 0)), text)


def labels():
    """{name: address} of the program's instructions."""
    done = subprocess.run(['nm', PROGRAM], check=True, capture_output=True)
    return {name: int(address, 16) for address, _, name in (
        line.split() for line in done.stdout.decode().splitlines()
        if len(line.split()) == 3)}


def events(path):
    """{name: [fields]}, in the order of time; numbers as numbers."""
    found = {}
    for e in entries(path, '-b', '0', '-t', 'event'):
        name, _, rest = e['text'].partition(': ')
        fields = dict(re.findall(r'(\w+)=(\S+)', rest))
        for key in fields:
            if key != 'data' and re.fullmatch(r'0x[0-9a-f]+|\d+', fields[key]):
                fields[key] = int(fields[key], 0)
        found.setdefault(name, []).append(fields)
    return found


def texts(path):
    return [e['text'] for e in entries(path, '-b', '0', '-t', 'text')]


def stores(found):
    return [(e['pc'], e['offset'], bytes.fromhex(e['data']))
            for e in found['dlog:store']]


class Run:
    """Files for a guest with the plugin, in a folder of their own."""

    def __init__(self, probes='', cpus=2, watch=True):
        self.folder = tempfile.TemporaryDirectory(prefix='dlog-memory-')
        self.plugin = self.path('plugin.img')
        self.region = self.path('region.img')
        tool('dlog-create', '-q', '-s', '64M', '-r', str(cpus + 1),
             self.plugin)
        tool('dlog-create', '-q', '-s', '1M', '-r', '2', self.region)
        options = '%s,region=%s' % (PLUGIN, self.plugin)
        if probes:
            with open(self.path('probes'), 'w') as f:
                f.write(probes)
            options += ',probes=' + self.path('probes')
        if watch:
            options += ',watch=%s,trace-writes=on' % self.region
        self.args = [
            '-object', 'memory-backend-file,id=dlog,size=1M,share=on,'
            'mem-path=' + self.region,
            '-device', 'ivshmem-plain,memdev=dlog',
            '-device', 'pc-testdev', '-plugin', options]

    def path(self, name):
        return os.path.join(self.folder.name, name)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.folder.cleanup()


@contextlib.contextmanager
def boot(run, qemu=None):
    """A guest with the program in it, at /bin/accesses.

    It is slow with a callback at each access, and this machine may be busy."""
    guest = Guest(qemu=qemu, qemu_args=run.args,
                  files={'/bin/accesses': PROGRAM})
    try:
        guest.start(timeout=250)
        yield guest
        guest.quit()
        run.console = guest.console().encode()
    finally:
        guest.remove()


def do_memory(guest):
    assert guest.must('accesses memory %#x %d' % (PAGES, N)).split() == \
        [str(N * 0x101 * N + 0 + 5 + 10)]


def check_memory(found, values):
    """What memory() of the program did; values: are they told?"""
    words = found['probe:words']
    back = found['probe:back']
    assert [e['hit'] for e in words] == list(range(1, N + 1))
    assert {(e['address'], e['size'], e['write']) for e in words} == \
        {(PAGES, 8, 1)}
    assert {(e['address'], e['size'], e['write']) for e in back} == \
        {(PAGES, 8, 0)}
    assert len(back) == N
    assert len({e['pc'] for e in words}) == 1
    assert [(e['address'] - PAGES, e['size'], e['write'])
            for e in found['probe:sizes']] == [(8, 1, 1), (16, 2, 1),
                                               (20, 4, 1)]
    assert [(e['address'] - PAGES, e['size'], e['write'])
            for e in found['probe:locked']] == [(24, 8, 0), (24, 8, 1)] * 3
    assert sum(e['size'] for e in found['probe:vector']) == 16
    assert [e['address'] - PAGES for e in found['probe:edge']] == [60]
    assert [(e['address'] - PAGES, e['size'])
            for e in found['probe:cross']] == [(4092, 8)]
    assert 'probe:never' not in found
    if not values:
        assert 'value' not in words[0]
        return
    assert [e['value'] for e in words] == [0x101 * i for i in range(1, N + 1)]
    assert {e['value'] for e in back} == {0x101 * N}
    assert [e['value'] for e in found['probe:sizes']] == \
        [0x5a, 0x1234, 0xdeadbeef]
    assert [e['value'] for e in found['probe:locked']] == \
        [0, 5, 5, 10, 10, 15]
    assert found['probe:cross'][0]['value'] == 0x0807060504030201


def check_counts(found):
    """At the end each probe's hits are told: as many as were recorded."""
    for e in found['dlog:probe']:
        name = 'probe:' + e['name'].strip('"')
        assert e['hits'] == len(found.get(name, [])), e


def do_device(guest):
    assert guest.must('accesses device %d' % N).split() == [str(N * N)]


def check_device(found, values):
    iomem = found['probe:iomem']
    assert [(e['size'], e['write']) for e in iomem] == \
        [(4, 1)] * N + [(4, 0)] * N
    if values:
        assert [e['value'] for e in iomem] == \
            list(range(1, N + 1)) + [N] * N


def do_stores(guest):
    assert int(guest.must(FIND_REGION % (1 << 20)), 16) == BAR
    guest.must('accesses region /region')
    guest.must('accesses race /region %d' % N)


def check_stores(found):
    """What region() and race() of the program did, and nothing else."""
    at = labels()
    seen = stores(found)
    raced = [s for s in seen if s[0] == at['region_race']]
    assert [s for s in seen if s[0] != at['region_race']] == [
        (at['region_word'], 0x5004, bytes.fromhex('44332211')),
        (at['region_cross'], 0x5ffc, bytes.fromhex('01020304')),
        (at['region_cross'], 0x6000, bytes.fromhex('05060708'))] + [
        (at['region_string'], 0x7001 + i, b'\x77') for i in range(40)] + [
        (at['region_locked'], 0x7100, b'\x80')]
    numbers = [i.to_bytes(8, 'little') for i in range(1, N + 1)]
    for offset in (0x6000, 0x7008):
        assert [data for _, o, data in raced if o == offset] == numbers
    assert len(raced) == 2 * N


def check_ports(found, console):
    """What ports() of the program did, and what the console got."""
    at = labels()
    seen = [(e['write'], e['size'], e['value']) for e in found['probe:echo']]
    want = []
    for value, size in [(i, 1) for i in range(10)] + [
            (0xa5, 1), (0x1234, 2), (0x89abcdef, 4)]:
        want += [(1, size, value), (0, size, value)]
    assert seen == want + [(1, 1, c) for c in b'outsins.'] + \
        [(0, 1, ord('.'))] * 8, seen
    assert not any(e['unread'] for e in found['probe:echo'])
    pcs = [e['pc'] for e in found['probe:echo']]
    assert pcs[20:22] == [at['accesses_out8'], at['accesses_in8']]
    assert set(pcs[-16:-8]) == {at['accesses_outs']}
    assert set(pcs[-8:]) == {at['accesses_ins']}
    # 16550: 0x3f8 is the data, and with bit 7 of 0x3fb the divisor.
    sent, divisor = bytearray(), False
    for e in sorted(found['probe:uart'], key=lambda e: e['hit']):
        if e['address'] == 0x3fb:
            divisor = e['value'] >> 7
        elif e['address'] == 0x3f8 and not divisor:
            sent.append(e['value'])
    assert len(console) > 5000
    assert bytes(sent) == console


@case
def memory_and_ports_on_qemu_10():
    with Run(probe_lines(MEMORY.format(PAGES) + PORTS), watch=False) as run:
        with boot(run, 'trixie') as guest:
            do_memory(guest)
            assert guest.must('accesses ports 10').split()[1] == '2e'
        found = events(run.plugin)
    check_memory(found, True)
    check_counts(found)
    check_ports(found, run.console)


@case
def memory_and_stores_on_qemu_7_2():
    """No values, no physical addresses, no ports; the same otherwise."""
    with Run(probe_lines(MEMORY.format(PAGES))) as run:
        with boot(run) as guest:
            do_memory(guest)
            do_stores(guest)
        found = events(run.plugin)
    check_memory(found, False)
    check_counts(found)
    check_stores(found)


@case(long=True)
def places_and_stores_on_qemu_10():
    probes = probe_lines(PLACES.format(BAR + 0x5000) + DEVICE)
    with Run(probes) as run:
        with boot(run, 'trixie') as guest:
            do_device(guest)
            do_stores(guest)
        found = events(run.plugin)
    check_device(found, True)
    check_counts(found)
    check_stores(found)
    at = labels()
    assert [(e['pc'], e['where'], e['size']) for e in found['probe:page']] == \
        [(at['region_word'], BAR + 0x5004, 4),
         (at['region_cross'], BAR + 0x5ffc, 8)]
    behind = [e['pc'] for e in found['probe:behind']]
    assert behind == [at['region_cross']] + [at['region_race']] * N


@case(long=True)
def devices_on_qemu_7_2():
    with Run(DEVICE, watch=False) as run:
        with boot(run) as guest:
            do_device(guest)
        found = events(run.plugin)
    check_device(found, False)
    check_counts(found)


@case
def what_qemu_7_2_cannot_do_is_refused():
    for line, words in (
            ('write a phys:0x1000..0x1fff', 'physical addresses'),
            ('write a 0x1000..0x1fff x=value', 'values'),
            ('write a 0x1000..0x1fff x=physical', 'physical addresses'),
            ('read a port:0x70..0x71', 'register'),
            ('read a device:hpet x=value', 'values')):
        with Run('# nothing\n%s\n' % line, watch=False) as run:
            guest = Guest(qemu_args=run.args)
            try:
                guest.start(timeout=30)
                raise AssertionError('QEMU started with: ' + line)
            except GuestError as err:
                told = [text for text in str(err).splitlines()
                        if 'dlog-plugin:' in text]
            finally:
                guest.remove()
            assert len(told) == 1 and '/probes:2: ' in told[0], (line, told)
            assert words in told[0] and 'QEMU 9.' in told[0], (line, told)


def replay(image, found):
    for e in found['dlog:store']:
        data = bytes.fromhex(e['data'])
        image[e['offset']:e['offset'] + len(data)] = data


def corrupter(qemu):
    """A driver that logs on 2 CPUs, and a program that spoils a record.

    All stores together make the region from what it was before."""
    with tempfile.TemporaryDirectory(prefix='dlog-memory-') as folder:
        plugin = os.path.join(folder, 'plugin.img')
        tool('dlog-create', '-q', '-s', '256M', '-r', '3', plugin)
        w = World(placement='ivshmem', size='2M', append='iomem=relaxed',
                  qemu=qemu, files={'/bin/accesses': PROGRAM})
        w.guest.qemu_args += ['-plugin', '%s,region=%s,watch=%s,'
                              'trace-writes=on' % (PLUGIN, plugin, w.region)]
        with open(w.region, 'rb') as f:
            image = bytearray(f.read())
        with w:
            w.guest.must(FIND_REGION % (2 << 20))
            w.load_driver()
            w.guest.must('''
for i in 1 2; do
	taskset $i sh -c 'for i in $(seq 300); do
		echo "line $i of a log" > /dev/kmsg; done' &
done
wait
echo spoil me > /dev/kmsg
for i in 1 2; do taskset $i sh -c 'echo behind > /dev/kmsg'; done''')
            with open(w.region, 'rb') as f:
                spoiled = f.read().index(b'spoil me')
            w.guest.must('accesses poke /region %d 0x58' % spoiled)
            w.guest.quit()
            with open(w.region, 'rb') as f:
                final = f.read()
            stats = w.loss(1)
        found = events(plugin)
        said = [text for text in texts(plugin) if 'not by an instruction' in
                text or 'device' in text]
    assert sum(entry['corrupt'] for entry in stats.values()) == 1, stats
    last = [e for e in found['dlog:store'] if e['offset'] <= spoiled <
            e['offset'] + e['size']][-1]
    assert last['pc'] == labels()['region_poke'] and last['data'] == '58'
    assert not [e for e in found['dlog:store']
                if e['pc'] < 1 << 47 and e is not last]
    assert not said, said
    assert len({e['vcpu'] for e in found['dlog:store']}) == 2
    replay(image, found)
    different = [i for i in range(len(final)) if image[i] != final[i]]
    assert not different, [hex(i) for i in different[:20]]
    print('%d stores' % len(found['dlog:store']))


@case
def a_corrupter_is_found_on_qemu_10():
    corrupter('trixie')


@case(long=True)
def a_corrupter_is_found_on_qemu_7_2():
    corrupter(None)


if __name__ == '__main__':
    main()
