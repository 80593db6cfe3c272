#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Living and hanging guests: what is recorded equals what the guest itself
shows, is seen at once, and the driver does no harm.
"""

import collections
import hashlib
import json
import mmap
import os
import re
import struct
import subprocess
import sys
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from lib.case import case, main, skip, until  # noqa: E402 (needs the path above)
from lib.guest import Guest  # noqa: E402
from lib.world import BIN, BUILD, LOAD, TREE, World, entries, modules, tool  # noqa: E402

MISC = '/sys/class/misc/dlog/'


def frames(w):
    """Stack traces, each a list of its frames, innermost first."""
    return [e['text'].split('\n')[1:] for e in entries(w.region)
            if e['kind'] == 'stack']


def same_as_dmesg(w):
    """dlog-read's printk lines against the guest's own dmesg, to the byte."""
    theirs = w.guest.must('dmesg -x').rstrip('\n').splitlines()
    ours = tool('dlog-read', '-x', '-k', '-b', '0', '--no-pager',
                w.region).decode().rstrip('\n').splitlines()
    assert len(theirs) > 100
    for mine, other in zip(ours, theirs):
        assert mine == other, 'dlog-read: %r\ndmesg:     %r' % (mine, other)
    assert len(ours) == len(theirs), (ours[len(theirs):], theirs[len(ours):])
    print('%d lines equal' % len(theirs))


def dmesg_equal(kernel):
    with World(kernel=kernel) as w:
        w.load_driver()
        w.load_test()
        w.guest.must('echo hello > %ssay' % LOAD)
        w.guest.must('modprobe nfit; modprobe nd_pmem; '
                     'printf "a\\tb\\001c\\n" > /dev/kmsg; '
                     'echo "<12>from user space" > /dev/kmsg')
        time.sleep(0.5)
        same_as_dmesg(w)


@case
def dmesg_is_equal_on_6_1():
    dmesg_equal('6.1')


@case
def dmesg_is_equal_on_6_12():
    dmesg_equal('6.12')


@case
def json_passes_jq():
    with World() as w:
        w.load_driver()
        w.guest.must(r'printf "bad \377\376 utf8 \"quoted\" \\\\ \033[31m" '
                     '> /dev/dlog-msg')
        out = tool('dlog-read', '-o', 'json', w.region)
        done = subprocess.run(['jq', '-c', '.text'], input=out,
                              stdout=subprocess.PIPE)
        assert done.returncode == 0
        assert len(done.stdout.splitlines()) == len(out.splitlines()) > 100


@case
def follow_shows_a_line_at_once():
    with World(size='256K', rings=1) as w:
        w.load_driver()
        reader = subprocess.Popen(
            [os.path.join(BIN, 'dlog-read'), '-f', '-n', '0', w.region],
            stdout=subprocess.PIPE, stdin=subprocess.DEVNULL)
        try:
            time.sleep(1)
            late = []
            with open(w.region, 'rb') as f:
                region = mmap.mmap(f.fileno(), 0, prot=mmap.PROT_READ)
            for n in range(20):
                token = b'token%d.' % n
                w.guest.sh_nowait('echo %s > /dev/dlog-msg' % token.decode())
                deadline = time.monotonic() + 20
                while region.find(token) < 0:
                    assert time.monotonic() < deadline
                written = time.monotonic()
                assert token in reader.stdout.readline()
                late.append(time.monotonic() - written)
            print('shown after %.1f ms at most, %.1f on average' % (
                max(late) * 1000, sum(late) / len(late) * 1000))
            assert sorted(late)[len(late) * 9 // 10] < 0.05, late
        finally:
            reader.kill()
            reader.wait()


@case(long=True)
def follow_is_cheap_while_idle():
    with World() as w:
        w.load_driver()
        reader = subprocess.Popen(
            [os.path.join(BIN, 'dlog-read'), '-f', w.region],
            stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL)
        try:
            time.sleep(2)

            def ticks():
                with open('/proc/%d/stat' % reader.pid) as f:
                    fields = f.read().rsplit(')')[-1].split()
                return int(fields[11]) + int(fields[12])
            before = ticks()
            time.sleep(20)
            used = (ticks() - before) / os.sysconf('SC_CLK_TCK') / 20
            print('%.2f %% of a core' % (used * 100))
            assert used < 0.01, used
        finally:
            reader.kill()
            reader.wait()


@case
def hung_guest_is_readable():
    with World() as w:
        w.load_driver()
        w.load_test()
        w.guest.must('echo "the last line" > /dev/kmsg')
        until('heartbeats',
              lambda: len([b for b in w.stats()['cpus']
                      if not b['stale']]) == 2)
        w.die('hang-all')
        until('stale heartbeats',
              lambda: [b['stale'] for b in w.stats()['cpus']] == [True, True])
        assert b'stale' in tool('dlog-read', '--stats', '--no-pager',
                                w.region)
        assert any(e.get('text') == 'the last line' for e in entries(w.region))
        assert w.guest.qmp('query-status')['status'] == 'running'
        # The host asks where everybody is.
        w.guest.qmp('inject-nmi')
        until('both stacks', lambda: len(frames(w)) == 2)
        for stack in frames(w):
            assert stack[0].startswith('hang+0x'), stack
        regs = tool('dlog-read', '--regs', '--no-pager', w.region).decode()
        assert 'of cpu 0' in regs and 'of cpu 1' in regs, regs


@case
def hang_of_one_cpu_is_told_by_the_other():
    with World() as w:
        w.load_driver('heartbeat_ms=500')
        w.load_test()
        w.die('hang-one')
        until('hard lockup', lambda: w.stats()['status'] == 'hard lockup', 40)
        until('its stack',
              lambda: any(stack[0].startswith('hang+0x')
                      for stack in frames(w)))


def evidence(kernel):
    with World(kernel=kernel, append='panic=0 oops=panic') as w:
        w.load_driver()
        w.load_test()
        w.die('oops')
        w.guest.wait_for('end Kernel panic')
        time.sleep(0.5)
        found = list(entries(w.region))
        states = [e['arg'] for e in found if e['kind'] == 'state']
        assert states[-2:] == [3, 4], states  # oops, panic
        # Whose stack comes first depends on how far the CPUs' clocks differ.
        stacks = frames(w)
        mine = [s[0] for s in stacks if s[0].startswith('set_die+0x')]
        assert mine, stacks
        assert len(stacks) >= 2
        regs = [e for e in found if e['kind'] == 'regs']
        assert len({e['hex'][:8] for e in regs}) == 2, 'not both CPUs'
        assert any('Kernel panic - not syncing' in e.get('text', '')
                   for e in found)
        # RIP of the oops, as the guest itself printed it.
        rip = next(e['text'] for e in found
                   if e.get('text', '').startswith('RIP: 0010:set_die'))
        offset = re.search(r'set_die\+(0x[0-9a-f]+)', rip).group(1)
        assert mine[0].startswith('set_die+%s/' % offset), (rip, mine)


@case
def evidence_of_an_oops_on_6_1():
    evidence('6.1')


@case
def evidence_of_an_oops_on_6_12():
    evidence('6.12')


@case
def pvpanic_leaves_time_for_the_evidence():
    """QEMU stops the guest in the first panic notifier."""
    with World(launcher=('--on-panic=pause',), append='panic=1') as w:
        w.load_driver()
        w.guest.must('modprobe pvpanic-mmio; modprobe pvpanic-pci; true')
        w.guest.sh_nowait('echo c > /proc/sysrq-trigger')
        w.guest.wait_event('GUEST_PANICKED')
        assert w.stats()['status'] == 'panic'
        found = list(entries(w.region))
        assert len(frames(w)) == 2
        assert any('Kernel panic - not syncing: sysrq' in e.get('text', '')
                   for e in found)


@case
def soft_lockup_and_hung_task_are_told():
    with World() as w:
        w.load_driver()
        w.load_test()
        w.guest.must('cd /proc/sys/kernel && echo 2 > watchdog_thresh && '
                     'echo 2 > hung_task_timeout_secs && '
                     'echo 1 > hung_task_check_interval_secs')
        w.die('hung-task')
        until('hung task', lambda: w.stats()['status'] == 'hung task', 60)
        w.die('soft-lockup')
        until('soft lockup', lambda: w.stats()['status'] == 'soft lockup', 60)


@case
def reload_goes_on_in_the_same_boot():
    with World() as w:
        assert w.load_driver() == 1
        w.guest.must('echo one > /dev/kmsg; rmmod dlog')
        assert w.stats()['status'] == 'unloaded'
        w.guest.must('echo two > /dev/kmsg')
        assert w.load_driver() == 1
        w.guest.must('echo three > /dev/kmsg')
        same_as_dmesg(w)
        w.guest.must('for i in 1 2 3 4 5 6 7 8; do rmmod dlog; '
                     'insmod /dlog.ko; done')
        same_as_dmesg(w)
        assert len(w.boots()) == 1


@case
def unload_under_load():
    # QEMU 7.2 with a host thread for each CPU can go on executing the int3 of
    # a text patch that another CPU has completed, for ever (seen with ftrace
    # patching prb_final_commit under a storm of printk).
    with World(accel='tcg,thread=single') as w:
        w.load_driver()
        w.guest.must('(while :; do echo noise > /dev/kmsg; done) & echo $! '
                     '> /pid; for i in 1 2 3 4 5; do rmmod dlog; '
                     'insmod /dlog.ko; done; kill $(cat /pid)')
        assert 'BUG' not in w.guest.must('dmesg')
        loss = w.loss(1)
        assert all(entry['corrupt'] == entry['torn'] == 0
                   for entry in loss.values()), loss


@case
def cpu_hotplug_and_suspend():
    with World() as w:
        w.start_load(seconds=0.5, pause_us=500)
        w.guest.must('echo 0 > %sload' % LOAD)
        w.check()
        cpu1 = '/sys/devices/system/cpu/cpu1/online'
        w.guest.must('echo 0 > ' + cpu1)
        beats = {b['cpu']: b for b in w.stats()['cpus']}
        assert not beats[1]['online'] and beats[0]['online'], beats
        w.guest.must('echo "while one is away" > /dev/kmsg')
        w.guest.must('echo 1 > ' + cpu1)
        w.guest.must('echo processors > /sys/power/pm_test; '
                     'echo mem > /sys/power/state', timeout=60)
        w.guest.must('echo "awake again" > /dev/kmsg')
        until('both heartbeats',
              lambda: len([b for b in w.stats()['cpus'] if b['online']
                      and not b['stale']]) == 2)
        texts = [e.get('text') for e in entries(w.region)]
        assert 'while one is away' in texts and 'awake again' in texts
        assert w.stats()['status'] == 'running'
        w.check()


@case(long=True)
def races_and_locks_are_watched():
    """The driver under KCSAN and lockdep, everything at once."""
    kcsan = '/sys/kernel/debug/kcsan'
    ko = os.path.join(BUILD, 'guest/6.1-debug/dlog.ko')
    if not os.path.exists(ko):
        skip('run tests/guest/setup debug-kernel, '
             'make guest KERNELS=6.1-debug')
    with World(kernel='6.1-debug', size='8M', mem='1G',
               firmware='seabios', append='log_buf_len=16M') as w:
        w.guest.must('echo on > %s; echo 100 > '
                     '/sys/module/kcsan/parameters/skip_watch' % kcsan)
        w.start_load(seconds=20, pause_us=500, interval_us=20000)
        w.guest.must('(for i in $(seq 100); do echo noise > /dev/kmsg; '
                     'echo more > /dev/dlog-msg; done) 2> /dev/null & '
                     'for i in 1 2 3; do echo stop > /dev/dlog; '
                     'cat /dev/dlog > /dev/null; cat %srings > /dev/null; '
                     'echo start > /dev/dlog; done; wait' % MISC, timeout=200)
        w.guest.must('echo 1 > /sys/module/dlogtest/parameters/gates')
        w.guest.must('echo 0 > %sload; rmmod dlogtest; rmmod dlog; '
                     'insmod /dlog.ko' % LOAD, timeout=120)
        said = w.guest.must('dmesg')
        state = w.guest.must('cat ' + kcsan)
        print(state)
        assert re.search(r'setup_watchpoints: [1-9]', state)
        # The title names the two functions; others' races are not our matter.
        races = [line for line in said.splitlines()
                 if 'BUG: KCSAN' in line and 'dlog' in line]
        assert not races, races
        for report in re.split(r'={60,}', said):
            if re.search(r'WARNING:|BUG: (?!KCSAN)|possible .* deadlock'
                         r'|inconsistent lock state', report):
                assert not re.search(r'\[dlog|\bdlog_', report), report


@case
def host_stops_and_starts_recording():
    with World() as w:
        w.load_driver('heartbeat_ms=200')
        tool('dlog-read', '--stop', w.region)
        until('the stop', lambda: not w.stats()['recording'])
        w.guest.must('echo unheard > /dev/kmsg')
        status, _ = w.guest.sh('echo unheard > /dev/dlog-msg')
        assert status != 0
        tool('dlog-read', '--start', w.region)
        until('the start', lambda: w.stats()['recording'])
        w.guest.must('echo heard > /dev/kmsg; echo stop > /dev/dlog; '
                     'echo unheard > /dev/kmsg; echo start > /dev/dlog; '
                     'echo again > /dev/kmsg')
        texts = [e.get('text') for e in entries(w.region)]
        assert 'unheard' not in texts
        assert 'heard' in texts and 'again' in texts


def event_data(w, name, kind):
    """(time, fields) of one event's records, ring by ring."""
    shape = struct.Struct(kind)
    rings = collections.defaultdict(list)
    for e in entries(w.region):
        if e['kind'] == 'event' and e['text'].startswith(name):
            rings[e['ring']].append((round(e['time'] * 1e9), shape.unpack(
                bytes.fromhex(e['hex']))))
    return rings


def times(cpus):
    """Each append took its time between two readings of local_clock(), or as
    near to it as the driver says."""
    with World(size='16M', smp=cpus) as w:
        w.load_driver()
        w.load_test()
        w.guest.must('echo 20000 > /sys/module/dlogtest/parameters/times')
        error = int(w.guest.must('cat /sys/class/misc/dlog/clock_error_ns'))
        rings = event_data(w, 'dlogtest:times', '<QQQ')
        assert sorted(rings) == list(range(cpus))
        worst = 0
        for records in rings.values():
            assert len(records) == 20000, len(records)
            for (time, (_, _, now)), (_, (before, after, _)) in zip(
                    records, records[1:]):
                assert now == before <= after
                worst = max(worst, before - time, time - after)
        print('clock_error_ns %d, worst found %d' % (error, worst))
        return error, worst


@case
def times_of_a_stable_clock():
    error, worst = times(1)
    assert 0 <= error < 20000 and worst <= error


@case
def times_of_an_unstable_clock():
    """QEMU's two emulated CPUs have no stable clock; the driver sees it."""
    error, worst = times(2)
    assert error == -1 and worst <= 0, (error, worst)


@case
def an_event_is_switched_off_and_on():
    with World() as w:
        w.load_driver()
        w.load_test()
        w.guest.must('echo 1 > /sys/module/dlogtest/parameters/gates')
        numbers = [n for records in event_data(w, 'dlogtest:gates',
                                               '<Q').values()
                   for _, (n,) in records]
        assert numbers == [1, 3], numbers
        w.guest.must('echo stop > /dev/dlog')
        status, _ = w.guest.sh(
            'echo 1 > /sys/module/dlogtest/parameters/gates')
        assert status != 0


@case
def the_guest_reads_earlier_boots():
    with World() as w:
        w.load_driver()
        w.guest.must('echo "<3>said by the first" > /dev/kmsg')
        w.guest.system_reset()
        w.guest.wait_ready()
        w.load_driver()
        w.guest.must('echo "and by the second" > /dev/dlog-msg')
        text = w.guest.must('cat /dev/dlog')
        first = text.index('-- boot 1 --')
        second = text.index('-- boot 2 --')
        assert first < text.index('said by the first') < second
        assert second < text.index('and by the second')
        # The text equals that of dlog-read, boot by boot.
        ours = tool('dlog-read', '-k', '-b', '1', w.region).decode()
        for line in ours.splitlines():
            assert not line.startswith('[') or line in text, line
        status, out = w.guest.sh('echo nonsense > /dev/dlog')
        assert status != 0, out


@case
def nd_pmem_makes_no_disk_of_the_log():
    with World() as w:
        w.load_driver()
        assert ': dlog' in w.guest.must('cat /proc/iomem')
        w.guest.must('modprobe nfit; modprobe nd_pmem; sleep 1')
        status, _ = w.guest.sh('test -e /dev/pmem0')
        assert status != 0, '/dev/pmem0 offers the log as a disk'


def memory_type(placement, wanted, **where):
    with World(placement=placement, **where) as w:
        w.load_driver()
        assert w.guest.must('cat %smemory_type' % MISC).strip() == wanted
        assert w.stats()['memory'] == wanted


@case
def memory_type_of_nvdimm():
    memory_type('nvdimm', 'write-back')


@case
def memory_type_of_ivshmem():
    memory_type('ivshmem', 'write-combining', firmware='seabios')


@case
def more_cpus_than_rings():
    with World(smp=4, rings=2) as w:
        w.start_load(seconds=1)
        w.guest.kill9()
        w.check(in_flight=8)


@case
def unformatted_memory_is_left_alone():
    with World() as w:
        noise = hashlib.shake_128(b'not a region').digest(4 << 20)
        path = os.path.join(w.folder, 'noise')
        with open(path, 'wb') as f:
            f.write(noise)
        args = ['-object', 'memory-backend-file,id=noise,mem-path=%s,size=4M,'
                'share=on' % path, '-device', 'nvdimm,memdev=noise']
        with Guest(machine='pc,nvdimm=on', mem='512M,slots=2,maxmem=2G',
                   qemu_args=args, files=modules('6.1')) as guest:
            status, out = guest.sh('insmod /dlog.ko 2>&1')
            assert status != 0
            said = guest.must('dmesg | grep dlog:')
            assert 'no dlog superblock, left alone' in said, said
            assert 'no region found' in said, said
        with open(path, 'rb') as f:
            assert f.read() == noise


@case
def second_reader_agrees_on_real_regions():
    """tests/abi/reader.py, written from docs/abi.md alone, and libdlog."""
    with World(size='1M') as w:
        w.start_load(seconds=0.3)
        w.guest.system_reset()
        w.guest.wait_ready()
        w.start_load(seconds=0.2)
        w.guest.kill9()
        done = subprocess.run(
            [sys.executable, os.path.join(TREE, 'tests/abi/compare.py'),
             w.region],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        print(done.stdout.decode()[-2000:])
        assert done.returncode == 0


if __name__ == '__main__':
    main()
