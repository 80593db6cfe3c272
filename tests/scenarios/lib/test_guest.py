#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Do test guests do what the scenarios ask of them?

Tests guest.py, image.py and tests/guest/init beside no dlog code at all: boots
each kind of guest with a 4 MiB nvdimm and ends it in each way.
"""

import hashlib
import os
import sys
import tempfile
import threading
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from lib.case import case, main, skip  # noqa: E402 (needs the path above)
from lib.guest import (Guest, GuestError, GuestExited,  # noqa: E402
                       GuestRebooted)
from lib.image import ImageError, Kernel  # noqa: E402
from lib.qmp import QmpError  # noqa: E402

SIZE = 4 << 20


def nvdimm_guest(folder, machine='pc', **kwargs):
    """A guest with FOLDER/region as nvdimm."""
    path = os.path.join(folder, 'region')
    if not os.path.exists(path):
        with open(path, 'wb') as f:
            f.write(hashlib.shake_128(b'dlog').digest(SIZE))
    return Guest(machine=machine + ',nvdimm=on',
                 mem='512M,slots=2,maxmem=2G', qemu_args=[
                     '-object', 'memory-backend-file,id=dlog,mem-path=%s,'
                     'size=%d,share=on,prealloc=on' % (path, SIZE),
                     '-device', 'nvdimm,memdev=dlog'], **kwargs)


def check_nvdimm(guest):
    """The guest has the nvdimm, and may load what drives it."""
    guest.must('modprobe nfit && modprobe nd_pmem')
    assert 'Persistent Memory' in guest.must('cat /proc/iomem')
    assert guest.must('stat -c %t /dev/pmem0')


def boots(**kwargs):
    with tempfile.TemporaryDirectory() as folder:
        start = time.monotonic()
        with nvdimm_guest(folder, **kwargs) as guest:
            print('boot to shell %.1f s' % (time.monotonic() - start))
            assert guest.sh('uname -r; false') == \
                (1, guest.kernel.release + '\n')
            check_nvdimm(guest)
            start = time.monotonic()
            guest.system_reset()
            guest.wait_event('RESET')
            guest.wait_ready()
            print('reset to shell %.1f s' % (time.monotonic() - start))
            check_nvdimm(guest)
            assert guest.poweroff() == 0


@case
def pvh_pc():
    boots(firmware='pvh', machine='pc')


@case
def pvh_q35():
    boots(firmware='pvh', machine='q35')


@case(long=True)
def seabios_pc():
    boots(firmware='seabios', machine='pc')


@case(long=True)
def seabios_q35():
    boots(firmware='seabios', machine='q35')


@case(long=True)
def ovmf_pc():
    boots(firmware='ovmf', machine='pc')


@case(long=True)
def ovmf_q35():
    boots(firmware='ovmf', machine='q35')


@case(long=True)
def microvm():
    """Under TCG about every second boot hangs in the kernel's delay
    calibration, before any code of ours: one of several has to do."""
    for _ in range(8):
        guest = Guest(machine='microvm')
        try:
            guest.start(timeout=20)
            assert guest.must('nproc') == '2\n'
            return
        except GuestError as err:
            print(err)
        finally:
            guest.remove()
    raise AssertionError('microvm has never booted')


@case(long=True)
def qemu_of_debian_13():
    try:
        guest = Guest(qemu='trixie')
        with guest:
            assert guest.qmp('query-version')['qemu']['major'] >= 10
            assert guest.must('nproc') == '2\n'
    except ImageError as why:
        skip(str(why))


def need_trixie():
    try:
        return Kernel('6.12')
    except ImageError:
        return skip('no kernel 6.12 here: run tests/guest/setup trixie')


@case(long=True)
def kernel_6_12():
    need_trixie()
    boots(kernel='6.12')


@case(long=True)
def kernel_6_12_by_seabios():
    need_trixie()
    boots(kernel='6.12', firmware='seabios')


def kexecs(kernel, option, firmware='seabios'):
    with tempfile.TemporaryDirectory() as folder:
        with nvdimm_guest(folder, kernel=kernel, firmware=firmware,
                          append='first=1', kexec=True) as guest:
            start = time.monotonic()
            print(guest.must('kexec %s -l /boot/bzImage '
                             '--initrd=/boot/initrd '
                             '--append="console=ttyS0 second=1"' % option))
            guest.sh_nowait('kexec -e')
            guest.wait_ready()
            print('kexec %s to shell %.1f s' % (option,
                                                time.monotonic() - start))
            assert 'second=1' in guest.must('cat /proc/cmdline')
            check_nvdimm(guest)


@case(long=True)
def kexec_file_load():
    kexecs('6.1', '-s')


@case(long=True)
def kexec_load():
    kexecs('6.1', '-c')


@case(long=True)
def kexec_load_from_pvh():
    kexecs('6.1', '-c', 'pvh')


@case(long=True)
def kexec_6_12():
    need_trixie()
    kexecs('6.12', '-s')


@case(long=True)
def sigkill_keeps_the_file():
    """Also that a guest can be started again as it was."""
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, 'region')
        with nvdimm_guest(folder) as guest:
            with open(path, 'rb') as f:
                before = f.read()
            guest.must('modprobe nfit; modprobe nd_pmem; '
                       'printf written | dd of=/dev/pmem0 bs=512 seek=2 '
                       'conv=notrunc && sync')
            assert guest.kill9() == -9
            with open(path, 'rb') as f:
                after = f.read()
            assert after[1024:1031] == b'written'
            assert after[:1024] == before[:1024]
            guest.start()
            check_nvdimm(guest)


@case
def shell_is_clean_beside_a_noisy_console():
    """All bytes of a command's output arrive, and nothing else does."""
    with Guest() as guest:
        guest.must('(while :; do echo "<1>noise on the console" >/dev/kmsg; '
                   'done) >/dev/null 2>&1 &')
        guest.wait_for('noise on the console')
        expected = ''.join('%d\n' % n for n in range(1, 5001))
        assert guest.sh('seq 5000') == (0, expected)
        # The agent's own marks pass as output, too.
        text = '\n@@dlog end 00000000 0\n@@dlog begin x\n'
        assert guest.sh("printf '%s'" % text) == (0, text)
        assert guest.sh("printf '%s' " + "'a b  c' x") == (0, 'a b  cx')
        assert guest.sh('exit 7') == (7, '')
        long_one = 'x' * 20000
        assert guest.sh('printf ' + long_one) == (0, long_one)


@case
def programs_of_the_guest():
    """dmesg is util-linux', files arrive, programs with their libraries."""
    with tempfile.TemporaryDirectory() as folder:
        data = os.path.join(folder, 'data')
        with open(data, 'w') as f:
            f.write('hello\n')
        with Guest(files={'/srv/data': data, '/srv/bytes': b'b\n',
                          '/rc': b'#!/bin/sh\necho rc has run\n',
                          '/usr/bin/jq': '/usr/bin/jq'},
                   modules=['netconsole'], append='a=1') as guest:
            guest.wait_for('rc has run')
            assert guest.must('cat /srv/data /srv/bytes') == 'hello\nb\n'
            assert 'kern  :' in guest.must('dmesg -x')
            assert guest.must('jq -Mn 1+1') == '2\n'
            assert 'a=1' in guest.must('cat /proc/cmdline')
            guest.must('modprobe configfs; modprobe netconsole; '
                       'modprobe ramoops || true; modprobe i6300esb; '
                       'modprobe pvpanic-pci && modprobe pvpanic_mmio')
            guest.must('grep -qx panic /sys/kernel/tracing/'
                       'available_filter_functions')


@case
def panic_events():
    with Guest(qemu_args=['-device', 'pvpanic', '-action', 'panic=pause'],
               smp=1) as guest:
        guest.must('modprobe pvpanic-mmio')
        guest.sh_nowait('echo c >/proc/sysrq-trigger')
        assert guest.wait_event('GUEST_PANICKED')['data']['action'] == 'pause'
        guest.wait_for('Kernel panic - not syncing: sysrq')
        assert guest.qmp('query-status')['status'] == 'guest-panicked'
        guest.system_reset()
        guest.cont()
        guest.wait_ready()
        assert guest.sh('true') == (0, '')


@case
def what_goes_wrong_is_told():
    """Time-outs, reboots and ends have errors of their own."""
    with Guest() as guest:
        status, _ = guest.sh('sleep 100', timeout=1)
        assert status == 137
        assert guest.sh('echo on') == (0, 'on\n')
        try:
            guest.qmp('no-such-command')
            raise AssertionError('QMP takes anything')
        except QmpError as err:
            assert 'no-such-command' in str(err)
        try:
            guest.wait_for('never said', timeout=1)
            raise AssertionError('found what was never said')
        except GuestError as err:
            assert 'end of console.log' in str(err), err
            assert 'Run /init' in str(err), err
        timer = threading.Timer(1, guest.system_reset)
        timer.start()
        try:
            guest.sh('sleep 60')
            raise AssertionError('slept through a reset')
        except GuestRebooted:
            guest.wait_ready()
        timer.join()
        pid = guest.pid()
        timer = threading.Timer(1, lambda: os.kill(pid, 9))
        timer.start()
        try:
            guest.sh('sleep 60')
            raise AssertionError('slept through a kill')
        except GuestExited:
            pass
        timer.join()
        assert guest.wait_exit() == -9
    try:
        with Guest(qemu_args=['-no-such-option']):
            raise AssertionError('QEMU takes anything')
    except GuestExited as err:
        assert 'no-such-option' in str(err), err


@case
def qemu_prefix_and_quit():
    """A wrapper that stays beside QEMU is ended with it."""
    with Guest(qemu_prefix=['sh', '-c', '"$@"; exit 5', 'wrapper']) as guest:
        assert guest.pid() != guest.process.pid
        guest.stop()
        assert guest.qmp('query-status')['status'] == 'paused'
        guest.cont()
        assert guest.quit() == 5
        assert not guest.running()


if __name__ == '__main__':
    main()
