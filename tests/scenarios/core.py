#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""dlog-core: the memory of live, paused and killed guests as cores that gdb,
crash and drgn open; what these say must be what QEMU and the guest said.

The long cases need tests/guest/setup debug-vmlinux.
"""

import contextlib
import json
import mmap
import os
import re
import shutil
import signal
import stat
import struct
import subprocess
import sys
import time
import zlib

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from lib import image  # noqa: E402 (needs the path above)
from lib.case import case, main, skip, until  # noqa: E402
from lib.ramfile import Ram, in_file  # noqa: E402
from lib.world import BIN, World, tool  # noqa: E402

PAGE = 4096
MIB = 1 << 20
NO_PID = 4194304        # and up: CPUs whose thread has no pid
PAUSE_MAX = 1.0         # s; it takes about 1 ms on an idle machine
REGISTERS = ('rax rbx rcx rdx rsi rdi rbp rsp r8 r9 r10 r11 r12 r13 r14 r15 '
             'rip').split()

# One CPU in user space for ever, the others idle: prints the pid.
SPIN = 'sh -c "while :; do :; done" >/dev/null 2>&1 </dev/null & echo $!'

IN_GDB = r'''
import gdb, json
found = {"threads": [], "memory": []}
for t in sorted(gdb.selected_inferior().threads(), key=lambda t: t.num):
    t.switch()
    frame = gdb.newest_frame()
    one = {"lwp": t.ptid[1]}
    for name in %(registers)r:
        try:
            one[name] = int(frame.read_register(name)) & (1 << 64) - 1
        except Exception:
            pass
    found["threads"].append(one)
for addr, size in %(memory)r:
    found["memory"].append(
        bytes(gdb.selected_inferior().read_memory(addr, size)).hex())
print("@@" + json.dumps(found))
'''


@contextlib.contextmanager
def guest_in_file(**more):
    """A guest, the folder of its RAM file, and a QMP socket there."""
    with in_file(qmp=True, **more) as (guest, ram):
        yield guest, os.path.dirname(ram)


def core(folder, name, *args):
    """Makes a core; its path and what the program said."""
    path = os.path.join(folder, name)
    said = tool('dlog-core', *args, os.path.join(folder, 'ram'), path).decode()
    return path, said


def gdb(path, memory=(), vmlinux=None):
    """What gdb sees in a core: threads with registers, and memory."""
    script = IN_GDB % {'registers': REGISTERS, 'memory': list(memory)}
    done = subprocess.run(
        ['gdb', '-nx', '-batch', '-ex', 'python exec(%r)' % script, '-c', path,
         *([vmlinux] if vmlinux else [])],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=120)
    for line in done.stdout.decode().splitlines():
        if line.startswith('@@'):
            return json.loads(line[2:])
    raise AssertionError(done.stdout.decode() + done.stderr.decode())


def monitor(guest, line, cpu=None):
    more = {} if cpu is None else {'cpu-index': cpu}
    return guest.qmp('human-monitor-command', **{'command-line': line}, **more)


def registers(guest):
    """Of each CPU, as QEMU's monitor prints them."""
    text = monitor(guest, 'info registers -a')
    return [{name.lower(): int(value, 16) for name, value in re.findall(
        r'\b(R\w\w|R[89]) *=([0-9a-f]{16})', one)}
        for one in re.split(r'CPU#\d+', text)[1:]]


def memory(guest, cpu, addr, count):
    """Bytes at a virtual address, as QEMU's monitor prints them."""
    text = monitor(guest, 'x /%dxb 0x%x' % (count, addr), cpu)
    return ''.join('%02x' % int(v, 16) for v in
                   re.findall(r' 0x([0-9a-f]{2})\b', text))


def in_kernel(cpu):
    """On a stack of a task, not on one of cpu_entry_area's."""
    return cpu['rip'] >> 63 and cpu['rsp'] >> 63 and \
        cpu['rsp'] >> 39 != 0xfffffe0000000000 >> 39


def stop_while_one_spins(guest):
    """Pauses the guest while one CPU is in user space and the others are not:
    their registers, and which one that is."""
    for _ in range(100):
        guest.stop()
        want = registers(guest)
        user = [i for i, cpu in enumerate(want) if not cpu['rip'] >> 63]
        if len(user) == 1 and all(in_kernel(cpu) for i, cpu in enumerate(want)
                                  if i != user[0]):
            return want, user[0]
        guest.cont()
        time.sleep(0.05)
    raise AssertionError('the other CPUs never idle: %r' % want)


def pauses(guest):
    """How long the guest stood still, each time, by QEMU's own clock."""
    found, stopped = [], None
    for event in guest.events:
        at = event['timestamp']
        at = at['seconds'] + at['microseconds'] / 1e6
        if event['event'] == 'STOP':
            stopped = at
        elif event['event'] == 'RESUME':
            found.append(at - stopped)
            stopped = None
    return found, stopped


def running(guest):
    return guest.qmp('query-status')['running']


def segments(path):
    """A core's PT_LOADs: (offset, virtual, physical, size)."""
    with open(path, 'rb') as f:
        head = f.read(64)
        assert head[:7] == b'\x7fELF\2\1\1' and head[16:20] == b'\4\0\x3e\0'
        offset, = struct.unpack_from('<Q', head, 32)
        size, number = struct.unpack_from('<HH', head, 54)
        f.seek(offset)
        table = f.read(size * number)
    for at in range(0, len(table), size):
        kind, _, off, virt, phys, length = struct.unpack_from('<IIQQQQ', table,
                                                              at)
        if kind == 1:
            yield off, virt, phys, length


def bytes_in_blocks(path):
    return os.stat(path).st_blocks * 512


# ---- parts of the quick case ----

def is_live(guest, folder, spinning):
    """The guest runs on, and hardly noticed."""
    for _ in range(10):
        before = len(pauses(guest)[0])
        path, said = core(folder, 'live', '-f', '--qmp',
                          os.path.join(folder, 'qmp'))
        until('RESUME', lambda: len(pauses(guest)[0]) > before)
        took, stopped = pauses(guest)
        assert stopped is None and running(guest)
        assert len(took) == before + 1 and 0 < took[-1] < PAUSE_MAX, took
        shown = re.search(r'stood still for ([0-9.]+) ms', said)
        assert abs(float(shown[1]) / 1000 - took[-1]) < 0.001, (said, took)
        seen = [t['lwp'] for t in gdb(path)['threads']]
        assert len(seen) == len(set(seen)) == 2, seen
        if spinning in seen:    # nothing else took its CPU at this instant
            break
    assert spinning in seen, (spinning, seen)
    print('the guest stood still for %.2f ms' % (took[-1] * 1000))


def is_paused(guest, folder, spinning):
    """Every CPU has the registers that QMP says, and memory is the same."""
    want, user = stop_while_one_spins(guest)
    places = [(want[1 - user]['rip'], 32), (want[1 - user]['rsp'], 64)]
    path, _ = core(folder, 'paused', '--qmp', os.path.join(folder, 'qmp'))
    assert guest.qmp('query-status')['status'] == 'paused'
    seen = gdb(path, places)
    assert [{name: t[name] for name in REGISTERS} for t in seen['threads']] \
        == [{name: r[name] for name in REGISTERS} for r in want]
    assert seen['memory'] == [memory(guest, 1 - user, *p) for p in places]
    assert seen['threads'][user]['lwp'] == spinning, (spinning, seen)
    assert seen['threads'][1 - user]['lwp'] != spinning, seen
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    guest.cont()


def runs_when_nobody_reads(guest, folder):
    """Output that nobody takes, more than a pipe holds, holds up no guest."""
    process = subprocess.Popen(
        [os.path.join(BIN, 'dlog-core'), '--freeze', '--qmp',
         os.path.join(folder, 'qmp'), '--stacks', '--json',
         os.path.join(folder, 'ram')], stdout=subprocess.PIPE)
    time.sleep(2)
    assert running(guest)
    process.stdout.close()
    process.wait(30)
    assert running(guest)


def is_frozen(guest, folder):
    """--freeze holds it while the core is written; SIGINT leaves nothing."""
    for _ in range(20):
        before = len(pauses(guest)[0])
        process = subprocess.Popen(
            [os.path.join(BIN, 'dlog-core'), '-q', '--freeze', '--qmp',
             os.path.join(folder, 'qmp'), os.path.join(folder, 'ram'),
             os.path.join(folder, 'frozen')], stderr=subprocess.PIPE)
        until('STOP', lambda: pauses(guest)[1] is not None
              or process.poll() is not None)
        process.send_signal(signal.SIGSTOP)
        time.sleep(0.05)
        caught = not running(guest)
        process.send_signal(signal.SIGINT)
        process.send_signal(signal.SIGCONT)
        said = process.communicate(timeout=30)[1].decode()
        until('RESUME', lambda: len(pauses(guest)[0]) == before + 1)
        assert running(guest)
        left = [n for n in os.listdir(folder) if n.startswith('frozen')]
        if caught and process.returncode == -signal.SIGINT:
            assert not left and 'nterrupted' in said, (left, said)
            return
        # It was done before the signal.
        assert process.returncode == 0 and left == ['frozen'], said
        os.unlink(os.path.join(folder, 'frozen'))
    raise AssertionError('never caught while it was frozen')


def is_dead(folder):
    """The bytes are those of the RAM file, at both addresses."""
    ram = os.path.join(folder, 'ram')
    path, said = core(folder, 'dead')
    assert 'no registers' in said
    with Ram(ram) as r, open(path, 'rb') as f:
        body = mmap.mmap(f.fileno(), 0, prot=mmap.PROT_READ)
        parts = list(segments(path))
        off, virt, phys, size = parts[-1]
        assert (phys, size) == (0, r.size) and virt % PAGE == 0
        assert body[off:off + size] == r.map[:]
        direct = virt
        assert r.find(direct + MIB) == MIB
        assert len(parts) > 50
        for off, virt, phys, size in parts[:-1]:
            for at in (0, size - PAGE):
                assert r.find(virt + at) == phys + at
                assert body[off + at:off + at + PAGE] == \
                    r.map[phys + at:phys + at + PAGE]
        text = r.symbol('_stext')
        want = [r.map[r.find(text):][:16].hex(), r.map[:16].hex()]
        body.close()
    seen = gdb(path, [(text, 16), (direct, 16)])
    assert seen['memory'] == want, (seen, want)
    assert not any('rip' in t for t in seen['threads']), seen
    assert bytes_in_blocks(path) <= bytes_in_blocks(ram) + MIB
    assert bytes_in_blocks(path) < os.path.getsize(ram) // 2
    return path


class Kdump:
    """A kdump-compressed file, read as makedumpfile's IMPLEMENTATION says."""

    def __init__(self, path):
        with open(path, 'rb') as f:
            self.data = f.read()
        assert self.data[:8] == b'KDUMP   '
        block, sub, bitmaps = struct.unpack_from('<3I', self.data, 428)
        size, at = bitmaps // 2 * block, block * (1 + sub)
        self.ram, self.kept = (self.bits(at + i * size, size) for i in (0, 1))
        self.descriptors = at + 2 * size

    def bits(self, at, size):
        return {8 * n + bit for n, byte in
                enumerate(self.data[at:at + size]) if byte
                for bit in range(8) if byte >> bit & 1}

    def pages(self):
        """(page frame, its bytes)."""
        for i, pfn in enumerate(sorted(self.kept)):
            off, size, flags, _ = struct.unpack_from(
                '<QIIQ', self.data, self.descriptors + 24 * i)
            page = self.data[off:off + size]
            yield pfn, zlib.decompress(page) if flags & 1 else page


def is_compressed(folder):
    """All pages are there, each for itself."""
    path, _ = core(folder, 'zlib', '--format=kdump', '--compress=zlib')
    dump = Kdump(path)
    with open(os.path.join(folder, 'ram'), 'rb') as f:
        ram = f.read()
    assert dump.ram == dump.kept == set(range(len(ram) // PAGE))
    for pfn, page in dump.pages():
        assert page == ram[pfn * PAGE:(pfn + 1) * PAGE], pfn
    assert os.path.getsize(path) < bytes_in_blocks(os.path.join(folder, 'ram'))


def is_kernel_only(folder, whole):
    """The pages that makedumpfile keeps of the same core, page for page."""
    if not shutil.which('makedumpfile'):
        print('makedumpfile is not installed')
        return
    path, _ = core(folder, 'kernel', '--format=kdump', '--compress=none',
                   '--kernel-only')
    theirs = os.path.join(folder, 'theirs')
    subprocess.run(['makedumpfile', '-d', '30', '-c', whole, theirs],
                   check=True, stdout=subprocess.DEVNULL,
                   stderr=subprocess.DEVNULL, timeout=120)
    ours, theirs = Kdump(path), Kdump(theirs)
    assert ours.ram == theirs.ram
    assert ours.kept == theirs.kept, (len(ours.kept), len(theirs.kept))
    assert 1000 < len(ours.kept) < len(ours.ram) // 2
    # As an ELF core: those pages, and holes.
    path, _ = core(folder, 'kernel.elf', '--kernel-only')
    off = list(segments(path))[-1][0]
    with open(path, 'rb') as f, open(os.path.join(folder, 'ram'), 'rb') as r:
        f.seek(off)
        for pfn in range(len(ours.ram)):
            page = r.read(PAGE)
            assert f.read(PAGE) == (page if pfn in ours.kept
                                    else bytes(PAGE)), pfn


def is_refused(folder):
    """What cannot be done leaves nothing behind and says why."""
    ram, to = os.path.join(folder, 'ram'), os.path.join(folder, 'refused')

    def fails(*args, prefix=()):
        done = subprocess.run([*prefix, os.path.join(BIN, 'dlog-core'), *args,
                               ram, to], stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE)
        left = [n for n in os.listdir(folder) if n.startswith('refused')]
        assert (done.returncode, done.stdout, left) == (1, b'', []), done
        return done.stderr.decode()

    assert '--max-size, 1 MiB' in fails('--max-size', '1M')
    limited = ['sh', '-c', 'ulimit -f 2000; exec "$@"', '-']
    assert 'File too large' in fails(prefix=limited)
    assert 'nobody listens' in fails('--qmp', os.path.join(folder, 'qmp'))
    done = subprocess.run(
        ['unshare', '-m', 'sh', '-c', 'mkdir -p "$0/full" && mount -t tmpfs '
         '-o size=2M none "$0/full" && "$1" "$0/ram" "$0/full/core"; '
         'echo $? "$0"/full/*', folder, os.path.join(BIN, 'dlog-core')],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    if done.returncode:
        print('no tmpfs of our own: %r' % done.stderr)
        return
    assert done.stdout.decode().split() == ['1', folder + '/full/*'], done
    assert re.search(rb'no space for more than [12](\.\d)? MiB', done.stderr), done


@case
def live_paused_frozen_and_killed():
    """One guest, all that can be had from it without a vmlinux."""
    with guest_in_file() as (guest, folder):
        spinning = int(guest.must(SPIN))
        time.sleep(0.5)
        is_live(guest, folder, spinning)
        is_paused(guest, folder, spinning)
        runs_when_nobody_reads(guest, folder)
        is_frozen(guest, folder)
        guest.kill9()
        whole = is_dead(folder)
        is_compressed(folder)
        is_kernel_only(folder, whole)
        is_refused(folder)


@case(long=True)
def of_6_12_with_memory_above_4_gib():
    """Two ranges of RAM; what is free is what the guest says is free."""
    with guest_in_file(kernel='6.12', mem='4G') as (guest, folder):
        spinning = int(guest.must(SPIN))
        time.sleep(0.5)
        free = int(re.search(r'MemFree: +(\d+)', guest.must(
            'cat /proc/meminfo'))[1]) * 1024
        want, user = stop_while_one_spins(guest)
        path, _ = core(folder, 'core', '--qmp', os.path.join(folder, 'qmp'))
        ranges = list(segments(path))[-2:]
        assert [(phys, size) for _, _, phys, size in ranges] == [
            (0, 3 << 30), (1 << 32, 1 << 30)]
        places = [(ranges[1][1], 64)]
        seen = gdb(path, places)
        assert [{name: t[name] for name in REGISTERS}
                for t in seen['threads']] == \
            [{name: r[name] for name in REGISTERS} for r in want]
        assert seen['threads'][user]['lwp'] == spinning, seen
        assert seen['memory'] == [memory(guest, 1 - user, *places[0])]
        guest.kill9()
        path, said = core(folder, 'kernel', '--format=kdump', '--compress=none',
                          '--kernel-only')
        dump = Kdump(path)
        assert dump.ram == set(range((3 << 30) // PAGE)) | set(
            range((1 << 32) // PAGE, (5 << 30) // PAGE))
        left_out = (len(dump.ram) - len(dump.kept)) * PAGE
        assert abs(left_out - free) < free // 20, (left_out, free, said)


# ---- with a vmlinux that has debug information ----

def cached(name):
    path = os.path.join(image.cache_dir(), name)
    if not os.path.exists(path):
        skip('no %s: run tests/guest/setup debug-vmlinux' % path)
    return path


def crash(program, vmlinux, path, *commands):
    """What crash prints for each command."""
    lines = ''.join('!echo @@\n%s\n' % c for c in commands)
    done = subprocess.run([program, '-s', vmlinux, path],
                          input=(lines + 'quit\n').encode(),
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          timeout=300)
    parts = done.stdout.decode().split('@@\n')
    assert len(parts) == len(commands) + 1, (done.stdout, done.stderr)
    return [part.strip() for part in parts[1:]]


# A task in each line: pid and name.
IN_DRGN = r'''
from drgn.helpers.linux.pid import for_each_task
from drgn.helpers.linux.percpu import per_cpu
for t in for_each_task(prog):
    print("task", t.pid.value_(), t.comm.string_().decode())
for cpu in range(2):
    t = per_cpu(prog["runqueues"], cpu).curr
    top = prog.stack_trace(t)[0]
    print("cpu", cpu, t.pid.value_(), hex(top.register("rip")))
print("stack", prog.stack_trace(2))
'''


def drgn(vmlinux, path, folder):
    script = os.path.join(folder, 'in_drgn.py')
    with open(script, 'w') as f:
        f.write(IN_DRGN)
    done = subprocess.run(['/usr/bin/drgn', '-q', '-c', path, '-s', vmlinux,
                           script], stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, timeout=300)
    assert done.returncode == 0, done.stderr.decode()
    text = done.stdout.decode()
    tasks = {int(pid): comm for pid, comm in
             re.findall(r'^task (\d+) (.*)$', text, re.M)}
    cpus = [(int(pid), int(rip, 16)) for pid, rip in
            re.findall(r'^cpu \d+ (\d+) (\w+)$', text, re.M)]
    assert 'kthreadd (' in text.split('stack', 1)[1], text
    return tasks, cpus


def check_stacks(stacks, spinning, want):
    """crash's bt -a: each CPU, and in the kernel where QMP said."""
    cpus = re.findall(r'^PID: (\d+) .* CPU: (\d+) ', stacks, re.M)
    assert [cpu for _, cpu in cpus] == ['0', '1'], stacks
    assert str(spinning) in [pid for pid, _ in cpus], stacks
    for regs in want:
        assert not in_kernel(regs) or 'RIP: %016x' % regs['rip'] in stacks, \
            (regs, stacks)


def without_threads(dmesg):
    """dmesg's lines as crash's log prints them."""
    return [re.sub(r'^\[ *([\d.]+)\] *', r'[\1] ', line)
            for line in dmesg.splitlines()]


@case(long=True, timeout=1200)
def crash_and_drgn_answer():
    """log, bt -a, ps; tasks: of a paused guest, and of the dead one.

    Debian 12's crash does not find the tasks of its own kernel (setup says
    why), so Debian 13's is asked for them."""
    vmlinux = cached('6.1/vmlinux.debug')
    newer = cached('crash-trixie/bin/crash')
    with guest_in_file() as (guest, folder):
        spinning = int(guest.must(SPIN))
        time.sleep(0.5)
        tasks = {int(pid): comm for pid, comm in re.findall(
            r'^(\d+) \((.*)\)', guest.must(
                'cat /proc/[0-9]*/stat 2>/dev/null; :'), re.M)}
        assert len(tasks) > 40, tasks
        # Those of the command itself are gone later; workers come and go.
        short_lived = {pid for pid, comm in tasks.items() if pid != spinning
                       and re.match('(sh|timeout|cat|kworker.*)$', comm)}
        dmesg = without_threads(guest.must('dmesg'))
        want, _ = stop_while_one_spins(guest)
        qmp = ('--qmp', os.path.join(folder, 'qmp'))
        paused = [core(folder, 'paused', *qmp)[0],
                  core(folder, 'paused.kdump', '--format=kdump', *qmp)[0]]
        guest.kill9()
        dead = [core(folder, 'dead')[0],
                core(folder, 'dead.kdump', '--format=kdump')[0],
                core(folder, 'kernel', '--kernel-only')[0]]
        for path in paused + dead:
            for program in ('crash', newer):
                log, stacks, ps = crash(program, vmlinux, path, 'log', 'bt -a',
                                        'ps')
                assert without_threads(log)[-len(dmesg):] == dmesg, (path, log)
                check_stacks(stacks, spinning, want if path in paused else [])
            listed = {int(pid) for pid in
                      re.findall(r'^>? *(\d+) .*$', ps, re.M)}
            assert tasks.keys() - listed <= short_lived, (path, ps, tasks)
            seen, cpus = drgn(vmlinux, path, folder)
            # /proc has longer names of kernel threads than their comm.
            other = {pid: seen.get(pid) for pid, comm in tasks.items()
                     if not comm.startswith(seen.get(pid) or '?')}
            assert other.keys() <= short_lived, (path, other)
            # Which CPU idles is in the note's pid, which drgn goes by.
            for (pid, rip), regs in zip(cpus, want if path in paused else []):
                if pid or path.endswith('kdump'):
                    assert rip == regs['rip'], (path, cpus, want)


@case(long=True)
def registers_of_a_panic_from_the_region():
    """The driver's snapshots, of this boot alone."""
    with in_file(World) as (w, ram):
        folder = os.path.dirname(ram)
        boot = w.load_driver()
        w.guest.sh_nowait('echo c > /proc/sysrq-trigger')
        until('panic', lambda: w.status() == 'panic', 60)
        time.sleep(1)
        w.guest.kill9()
        path, said = core(folder, 'core', '--regs', w.region)
        assert 'boot %d' % boot in said and '2 CPUs' in said, said
        shown = [json.loads(line) for line in tool(
            'dlog-read', '--regs', '-o', 'json', w.region).splitlines()]
        seen = gdb(path)['threads']
        assert len(seen) == 2, seen
        for thread, regs in zip(seen, shown):
            # rip is the 16th word of pr_reg, which is at 112.
            rip, = struct.unpack_from('<Q', bytes.fromhex(
                regs['prstatus']), 112 + 16 * 8)
            assert thread['rip'] == rip, (thread, regs)
        other = os.path.join(folder, 'other.img')
        tool('dlog-create', '-q', other)
        done = subprocess.run(
            [os.path.join(BIN, 'dlog-core'), '--regs', other, ram],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        assert done.returncode == 1, done
        assert b'knows nothing of the boot' in done.stderr, done


if __name__ == '__main__':
    main()
