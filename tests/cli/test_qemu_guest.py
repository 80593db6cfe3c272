#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Does a guest started by dlog-qemu have the region where it should be?

Each placement on pc and q35, by devmem in the guest and by the file; panics;
and dlog.ko where it is built.  Relies on launcher.py and on
tests/scenarios/lib for guests.
"""

import contextlib
import os
import re
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from launcher import (BUILD, DLOG_QEMU, MAGIC, MIB, connect,  # noqa: E402
                      folder, main, qemus)
from lib.case import case, skip  # noqa: E402 (launcher.py knows the path)
from lib.guest import Guest  # noqa: E402
from lib.image import ImageError, Kernel  # noqa: E402

WORDS = 'memmap=16M$256M dlog.mem=16M@256M'


@contextlib.contextmanager
def guest(options=(), **kwargs):
    """A guest with a region beside it: (guest, file)."""
    try:
        Kernel(kwargs.get('kernel', '6.1'))
    except ImageError as err:
        skip(str(err))
    with folder() as path:
        file = os.path.join(path, 'f')
        with Guest(qemu_prefix=[DLOG_QEMU, *options, file, '--'],
                   **kwargs) as g:
            yield g, file


def word_at(file, offset):
    with open(file, 'rb') as f:
        f.seek(offset)
        return int.from_bytes(f.read(4), 'little')


def check_memory(g, file, address, prepare='true'):
    """The region is at that address, in both directions, and the bytes
    outlive a reset."""
    def peek(offset, bits):
        return int(g.must('%s; devmem 0x%x %d' % (prepare, address + offset,
                                                  bits)).split()[-1], 16)

    assert peek(0, 64) == int.from_bytes(MAGIC, 'little')
    for offset in 5 * MIB, 16 * MIB - 8192:
        g.must('devmem 0x%x 32 0x%x' % (address + offset,
                                        0xd1060000 + offset // 4096))
        assert word_at(file, offset) == 0xd1060000 + offset // 4096
    g.system_reset()
    g.wait_event('RESET')
    g.wait_ready()
    for offset in 5 * MIB, 16 * MIB - 8192:
        assert word_at(file, offset) == 0xd1060000 + offset // 4096
        assert peek(offset, 32) == 0xd1060000 + offset // 4096


def nfit_range(table):
    """(address, bytes) of the first persistent range; ACPI 6.5, 5.2.25."""
    at = 40
    while at + 4 <= len(table):
        kind = int.from_bytes(table[at:at + 2], 'little')
        length = int.from_bytes(table[at + 2:at + 4], 'little')
        if kind == 0:
            return (int.from_bytes(table[at + 32:at + 40], 'little'),
                    int.from_bytes(table[at + 40:at + 48], 'little'))
        assert length
        at += length
    raise AssertionError('no range in the NFIT')


def nvdimm_guest(**kwargs):
    with guest(**kwargs) as (g, file):
        data = g.qmp('query-memory-devices')[0]['data']
        table = bytes(int(x, 16) for x in g.must(
            'hexdump -v -e \'1/1 "%02x "\' /sys/firmware/acpi/tables/NFIT')
            .split())
        assert nfit_range(table) == (data['addr'], 16 * MIB)
        check_memory(g, file, data['addr'])
        g.must('modprobe nfit')
        lines = g.must('grep Persistent /proc/iomem').splitlines()
        assert lines == ['%08x-%08x : Persistent Memory' % (
            data['addr'], data['addr'] + 16 * MIB - 1)], lines
        assert g.poweroff() == 0


@case
def nvdimm_on_pc():
    nvdimm_guest(machine='pc')


@case(long=True)
def nvdimm_on_q35():
    nvdimm_guest(machine='q35', firmware='ovmf', mem='3G')


@case
def nvdimm_in_qemu_of_debian_13():
    if len(qemus()) < 2:
        skip('no QEMU of Debian 13 here: run tests/guest/setup trixie-qemu')
    nvdimm_guest(machine='q35', qemu='trixie')


def ivshmem_guest(**kwargs):
    with guest(options=['-p', 'ivshmem'], **kwargs) as (g, file):
        device = g.must('cd /sys/bus/pci/devices; grep -l 0x1110 */device')
        device = '/sys/bus/pci/devices/' + device.split('/')[0]
        start, end = (int(x, 16) for x in g.must(
            'sed -n 3p %s/resource' % device).split()[:2])
        assert end - start + 1 == 16 * MIB
        check_memory(g, file, start, 'echo 1 >%s/enable' % device)
        assert g.poweroff() == 0


@case
def ivshmem_on_pc():
    ivshmem_guest(machine='pc')


@case(long=True)
def ivshmem_on_q35():
    ivshmem_guest(machine='q35', firmware='ovmf')


@case(long=True)
def ivshmem_on_microvm():
    """Long as the kernel hangs there in its delay calibration now and then.
    microvm ends at a reset, so bytes are looked at once."""
    with guest(options=['-p', 'ivshmem'], machine='microvm',
               append='lpj=4000000 tsc_early_khz=2000000 tsc=reliable') \
            as (g, file):
        device = g.must('cd /sys/bus/pci/devices; grep -l 0x1110 */device')
        device = '/sys/bus/pci/devices/' + device.split('/')[0]
        g.must('echo 1 >%s/enable' % device)
        start = int(g.must('sed -n 3p %s/resource' % device).split()[0], 16)
        assert int(g.must('devmem 0x%x 64' % start), 16) == \
            int.from_bytes(MAGIC, 'little')
        g.must('devmem 0x%x 32 0x12345678' % (start + MIB))
        assert word_at(file, MIB) == 0x12345678


def ram_guest(**kwargs):
    """Carved memory: where it should be, kept through a reset while the rest
    of memory is filled, and the guest has all of its own."""
    with guest(options=['-p', 'ram'], **kwargs) as (g, file):
        assert WORDS in g.must('cat /proc/cmdline')
        iomem = g.must('cat /proc/iomem')
        assert re.search(r'^10000000-10ffffff : Reserved$', iomem, re.M), iomem
        g.must('mkdir /fill; mount -t tmpfs -o size=90% tmpfs /fill; '
               'dd if=/dev/urandom of=/fill/x bs=1M 2>/dev/null; '
               'test $(stat -c %s /fill/x) -gt 200000000')
        check_memory(g, file, 256 * MIB)
        kib = int(g.must('grep MemTotal /proc/meminfo').split()[1])
        assert g.poweroff() == 0
        return kib


@case
def ram_on_pc():
    # 512 MiB less what Debian's kernel keeps for itself
    assert ram_guest(machine='pc') > 440 << 10


@case(long=True)
def ram_on_q35_with_ovmf():
    assert ram_guest(machine='q35', firmware='ovmf') > 430 << 10


def free_memory(mib):
    """Skips where the machine cannot hold such a guest."""
    with open('/proc/meminfo') as f:
        have = int(re.search(r'MemAvailable:\s+(\d+)', f.read()).group(1))
    if have < (mib + 1024) << 10:
        skip('%d MiB of free memory are needed' % (mib + 1024))


def ram_guest_above_4g(machine):
    """A guest with memory above 4 GiB: same place."""
    free_memory(4096)
    with guest(options=['-p', 'ram'], machine=machine, mem='4G',
               firmware='seabios') as (g, file):
        iomem = g.must('cat /proc/iomem')
        assert re.search(r'^10000000-10ffffff : Reserved$', iomem, re.M), iomem
        assert re.search(r'^100000000-\w+ : System RAM', iomem, re.M), iomem
        check_memory(g, file, 256 * MIB)
        assert int(g.must('grep MemTotal /proc/meminfo').split()[1]) > \
            3900 << 10
        assert g.poweroff() == 0


@case(long=True)
def ram_on_pc_above_4g():
    ram_guest_above_4g('pc')


@case(long=True)
def ram_on_q35_above_4g():
    ram_guest_above_4g('q35')


@case
def a_panic_reboots_as_configured():
    """QEMU's default would power the guest off."""
    with guest(append='panic=1', smp=1) as (g, _):
        g.must('modprobe pvpanic-mmio')
        g.sh_nowait('echo c >/proc/sysrq-trigger')
        assert g.wait_event('GUEST_PANICKED')['data']['action'] == 'run'
        g.wait_ready()
        assert g.sh('true') == (0, '')


@case
def a_panic_pauses_when_asked_to():
    with guest(options=['--on-panic=pause'], append='panic=1',
               smp=1) as (g, file):
        g.must('modprobe pvpanic-mmio')
        g.sh_nowait('echo c >/proc/sysrq-trigger')
        assert g.wait_event('GUEST_PANICKED')['data']['action'] == 'pause'
        # The socket beside the file sees it, too.
        qmp = connect(file + '.qmp')
        assert qmp.command('query-status')['status'] == 'guest-panicked'
        qmp.close()


@case
def the_driver_finds_the_region():
    """Each placement, by dlog.ko alone."""
    module = os.path.join(BUILD, 'guest/6.1/dlog.ko')
    if not os.path.exists(module):
        skip('no %s: make guest' % module)
    for place, how, parameter in (('nvdimm', 'nvdimm', ''),
                                  ('ivshmem', 'ivshmem', ''),
                                  ('ram', 'memory', 'mem=16M@256M')):
        with guest(options=['-p', place],
                   files={'/dlog.ko': module}) as (g, _):
            g.must('insmod /dlog.ko ' + parameter)
            log = g.must('dmesg | grep dlog:')
            assert re.search(r'dlog: %s memory at 0x' % how, log), log


if __name__ == '__main__':
    main()
