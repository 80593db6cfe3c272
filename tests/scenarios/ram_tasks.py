#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Tasks, stacks and symbols out of a guest's RAM file: what libdlog finds there
is what the guest itself said before QEMU was killed.

The guest tells its /proc/*/task/*/stat, /proc/*/task/*/stack and /proc/kallsyms;
then it panics in a keyboard interrupt, whose call trace is on its console, and
QMP tells the registers of that moment.  tests/tools/zoo.c has the tasks,
tests/tools/ramquery.c asks libdlog.
"""

import base64
import contextlib
import gzip
import json
import os
import random
import re
import struct
import subprocess
import sys
import tempfile

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from lib.case import case, main, until  # noqa: E402 (needs the path above)
from lib.image import Kernel  # noqa: E402
from lib.ramfile import Ram, in_file  # noqa: E402
from lib.world import BUILD, tool as program  # noqa: E402

RAMQUERY = os.path.join(BUILD, 'tests', 'ramquery')
SANE = os.path.join(BUILD, 'asan', 'tests', 'ramquery')

STAT = re.compile(r'^(\d+) \((.*)\) (\S) (\d+) ', re.M)
REGISTERS = ('R15 R14 R13 R12 RBP RBX R11 R10 R9 R8 RAX RCX RDX RSI RDI - RIP '
             'CS RFL RSP SS - - - - - -').split()

# Who comes and goes while the guest tells about itself.
PASSING = ('sh', 'cat', 'timeout', 'base64', 'gzip', 'awk', 'busybox')


def ask(path, questions, tool=RAMQUERY, args=()):
    """The answers to a list of questions, each a line."""
    done = subprocess.run([tool, path, *args], text=True, timeout=120,
                          input=''.join(q + '\n' for q in questions),
                          capture_output=True, errors='surrogateescape')
    assert done.returncode == 0, done.stderr[-4000:]
    return done.stdout.split('\n')[:-1]


def tasks(path, how='stacks', before=(), **more):
    """All tasks as ramquery has them."""
    lines = ask(path, [*before, how], **more)
    assert lines[-1] == '.' and lines[0][0] == '{', lines[:2]
    return [json.loads(line) for line in lines[:-1]]


def by_pid(found):
    """{pid: task}, without the idle ones; no pid comes twice."""
    out = {t['pid']: t for t in found if t['pid']}
    assert len(out) == sum(t['pid'] != 0 for t in found)
    return out


class Told:
    """What the guest said."""

    def __init__(self, guest, symbols):
        self.stat = {int(pid): (comm, state, int(ppid))
                     for pid, comm, state, ppid in STAT.findall(guest.must(
                         'cat /proc/[0-9]*/task/[0-9]*/stat 2>/dev/null; true'))}
        self.stack = {}
        for line in guest.must('for p in /proc/[0-9]*/task/[0-9]*; do '
                               'echo "== $p"; cat $p/stack; done 2>/dev/null;'
                               'true').split('\n'):
            if line.startswith('== '):
                frames = self.stack[int(line.split('/')[-1])] = []
            elif line.startswith('[<0>] '):
                frames.append(line[6:].strip())
        # Packed, as serial ports are slow.
        packed = guest.must('echo 0 > /proc/sys/kernel/kptr_restrict; %s '
                            '/proc/kallsyms | gzip -1 | base64' % symbols,
                            timeout=240)
        self.symbols = [line.split() for line in gzip.decompress(
            base64.b64decode(packed)).decode().split('\n') if line.strip()]
        self.about = guest.must(
            'cat /proc/sys/kernel/random/boot_id; grep btime /proc/stat; '
            'cat /proc/cmdline').split('\n')


@contextlib.contextmanager
def dead_guest(kernel='6.1', firmware='pvh',
               symbols="awk 'NR % 61 == 0 || NF > 3'"):
    """(RAM file, Told, console, registers) of a guest that panicked in an
    interrupt and whose QEMU was killed then."""
    with in_file(kernel=kernel, firmware=firmware,
                 files={'/zoo': os.path.join(BUILD, 'tests', 'zoo')},
                 modules=['uhid']) as (guest, path):
        guest.must('modprobe uhid && echo 1 > /proc/sys/kernel/sysrq && '
                   'setsid /zoo spin < /dev/null')
        told = Told(guest, symbols)
        guest.qmp('send-key', keys=[{'type': 'qcode', 'data': key}
                                    for key in ('alt', 'sysrq', 'c')])
        guest.wait_for('end Kernel panic', 60)
        # The other CPU may be on its way into its last halt.
        until('the other CPU has halted',
              lambda: 'HLT=1' in registers(guest))
        guest.stop()
        regs = registers(guest)
        console = guest.console()
        guest.kill9()
        yield path, told, console, regs


def registers(guest):
    return guest.qmp('human-monitor-command',
                     **{'command-line': 'info registers -a'})


def regs_questions(text):
    out = []
    for part in text.split('CPU#')[1:]:
        value = dict(re.findall(r'(\w+) ?=([0-9a-f]+)', part))
        out.append('regs %x %s' % (
            int(part.split()[0]),
            ' '.join(value.get(name, '0') for name in REGISTERS)))
    return out


def named(frame):
    """A frame as the kernel prints it."""
    assert 'symbol' in frame, frame
    return '%s+0x%x/0x%x%s' % (
        frame['symbol'], frame['offset'], frame['size'],
        ' [%s]' % frame['module'] if frame['module'] else '')


# What has to hold

def check_tasks(found, told):
    own = {pid: t for pid, t in told.stat.items() if t[0] not in PASSING}
    assert len(own) > 40, own
    zoo = 0
    for pid, (comm, state, ppid) in own.items():
        if pid not in found and comm.startswith('kworker/'):
            continue    # it was not needed any longer
        task = found[pid]
        assert task['ppid'] == ppid, (task, ppid)
        if task['kthread']:
            # proc_task_name() knows longer names of some.
            assert comm.startswith(task['comm']), (task, comm)
            assert task['state'] == state or state + task['state'] in \
                ('IR', 'RI', 'SR', 'RS', 'DR', 'RD'), (task, state)
            continue
        assert (task['comm'], task['state']) == (comm, state), (task, comm)
        zoo += 1
    assert zoo >= 12
    extra = {t['comm'] for pid, t in found.items() if pid not in told.stat}
    assert all(comm in PASSING or comm.startswith('kworker')
               for comm in extra), extra
    states = {t['comm']: t['state'] for t in found.values()}
    assert states['waits (in D)'] == 'D' and states['dead one'] == 'Z', states
    assert states['stopped'] == 'T' and states['spins'] == 'R', states
    assert states['thread\tthree'] == 'S' and states['thread) R 2'] == 'S'
    threads = [t for t in found.values() if t['comm'].startswith('thread')]
    assert len(threads) == 3 and len({t['tgid'] for t in threads}) == 1
    assert found[threads[0]['tgid']]['comm'] == 'many threads'


def check_stacks(found, told):
    """Every sleeper's; the kernel leaves out what belongs to the scheduler."""
    same = modules = 0
    for pid, frames in told.stack.items():
        task = found.get(pid)
        if not task or not frames or pid == 1 or task['running'] or \
                task['comm'] in PASSING:
            continue
        if task['kthread'] and task['state'] == 'R':
            continue
        ours = [named(f) for f in task['stack'] if not f['user']]
        if task['kthread'] and ours[-len(frames):] != frames:
            # It has moved on since; then it still begins where it did.
            assert ours[-1] == frames[-1], (task, frames)
            continue
        assert ours[-len(frames):] == frames, (task, frames)
        assert all(f['exact'] for f in task['stack']), task
        assert re.match(r'__schedule\+', ours[0]), task
        assert task['kthread'] or task['stack'][-1]['user'], task
        assert len(ours) - len(frames) <= 8, task
        modules += any('[uhid]' in f for f in frames)
        same += 1
    assert same > 40 and modules == 1, (same, modules)
    dead = [t for t in found.values() if t['state'] == 'Z']
    assert dead and not any(t['stack'] for t in dead), dead


def check_symbols(path, told):
    wanted = {}
    for word in told.symbols:
        object_ = word[3] if len(word) > 3 else ''
        if object_ in ('[bpf]', '[__builtin__ftrace]', '[__builtin__kprobes]') \
                or word[2].startswith('.L'):
            continue
        wanted.setdefault(word[2], {})[int(word[0], 16)] = (word[1], object_)
    names = list(wanted)
    assert len(names) > 1000
    for name, answer in zip(names, ask(path, ['symbol ' + n for n in names])):
        assert answer[0] != '-', name
        # A sample may show the second of several of one name.
        if int(answer, 16) not in wanted[name]:
            assert len(told.symbols) < 20000, (name, answer)
    at = [(a, v[1]) for n in names for a, v in wanted[n].items()
          if v[0] in 'tT']
    assert len(at) > 500
    answers = ask(path, ['at %x' % a for a, _ in at])
    for (addr, object_), answer in zip(at, answers):
        assert '+0x0/' in answer, (hex(addr), answer)
        assert answer.split()[1] == (object_[1:-1] or 'vmlinux'), answer
    assert any('uhid' in answer for answer in answers)
    assert ask(path, ['symbol no_such_symbol', 'at 1234', 'at ffffffffffffffff',
                      'symbol ' + 'x' * 700]) == ['- 2', '- 0', '- 0', '- 2']


def check_kernel(path, told):
    answer, real = ask(path, ['kernel', 'real'])
    cpus, page_offset, vmemmap, boot_id, line = answer.split(' ', 4)
    assert boot_id == told.about[0].strip().replace('-', ''), answer
    assert int(cpus) >= 2 and line == told.about[2].strip(), answer
    assert int(page_offset, 16) >> 47 == 0x1ffff, answer
    assert int(vmemmap, 16) > int(page_offset, 16), answer
    assert abs(int(real) / 1e9 - int(told.about[1].split()[1])) < 2, real


def console_trace(text):
    """The call trace of the panic: ([functions], {interrupted ones}); without
    those that the kernel was not sure of, down to user space."""
    at = text.index('Kernel panic - not syncing: sysrq')
    functions, interrupted = [], set()
    for line in text[at:text.index('end Kernel panic')].split('\n'):
        line = re.sub(r'^\[[^]]*\]', '', line).strip()
        match = re.match(r'RIP: 0010:(\S+)', line)
        if match:
            interrupted.add(match[1])
        match = match or re.match(r'([\w.]+\+0x[0-9a-f]+/0x[0-9a-f]+'
                                  r'(?: \[\w+\])?)$', line)
        if match:
            functions.append(match[1])
    return functions, interrupted


def check_panic(path, console, regs):
    told, interrupted = console_trace(console)
    assert 'sysrq_handle_crash' in ' '.join(told), told
    questions = regs_questions(regs)
    assert len(questions) == 2
    stacks = {}
    for task in tasks(path, before=questions):
        if task['running']:
            assert task['cpu'] not in stacks
            stacks[task['cpu']] = task['stack']
    assert len(stacks) == 2
    dead = [s for s in stacks.values()
            if any(f.get('symbol') == 'sysrq_handle_crash' for f in s)]
    assert len(dead) == 1, stacks
    ours = [f for f in dead[0] if not f['user']]
    begin = [i for i, f in enumerate(told) if 'sysrq_handle' in f][0]
    have = [named(f) for f in ours]
    assert have[have.index(told[begin]):] == told[begin:], (have, told)
    assert {named(f) for f in ours[1:] if f['interrupt']} == interrupted
    assert ours[0]['interrupt'] and 'panic' in [f['symbol'] for f in ours]
    assert all(f['exact'] for f in dead[0])
    # The other one was stopped by an interrupt too.
    other = [s for s in stacks.values() if s is not dead[0]][0]
    assert any('stop_this_cpu' in f.get('symbol', '') for f in other), other
    assert all(f['exact'] for f in other), other
    # Without registers nothing is exact.
    blind = [t for t in tasks(path) if t['running']]
    assert len(blind) == 2
    for task in blind:
        assert task['stack'] and not any(f['exact'] for f in task['stack'])
    known = {f.get('symbol') for t in blind for f in t['stack']}
    assert 'sysrq_handle_crash' in known or 'stop_this_cpu' in known, known


@contextlib.contextmanager
def damage(ram, words):
    """Words of guest memory changed, and put back after the block."""
    old = []
    for addr, value in words:
        off = ram.find(addr)
        old.append((off, ram.word(off)))
        struct.pack_into('<Q', ram.map, off, value)
    try:
        yield
    finally:
        for off, value in old:
            struct.pack_into('<Q', ram.map, off, value)


def node_of(path, found, comm, member='tasks'):
    offset = int(ask(path, ['member task_struct ' + member])[0].split()[0])
    return [int(t['task'], 16) + offset for t in found
            if t['comm'] == comm][0]


def check_damaged_lists(path, ram):
    """A broken ring of tasks costs only those that no way leads to."""
    found = tasks(path, 'tasks')
    node = node_of(path, found, 'stopped')
    thread = node_of(path, found, 'thread) R 2', 'thread_node')

    def listed(words):
        with damage(ram, words):
            return tasks(path, 'tasks')

    # Round in a circle, to nowhere, into what is no task.
    for bad in (node, 0x4141414141414141, 0, node - 8, node + 0x100):
        assert listed([(node, bad)]) == found, hex(bad)
    for bad in (node, 0x4141414141414141):
        assert listed([(node + 8, bad)]) == found, hex(bad)
        assert listed([(thread, bad)]) == found, hex(bad)
    # Out of reach from both sides: this process with its threads, no other.
    lost = [t for t in found if t not in listed([(node, 0), (node + 8, 0)])]
    assert [t['comm'] for t in lost] == ['stopped'], lost
    # A pid that cannot be.
    pid = node_of(path, found, 'stopped', 'pid') & ~7
    lost = [t for t in found if t not in listed([(pid, 1 << 63 | 1 << 31)])]
    assert [t['comm'] for t in lost] == ['stopped'], lost


def check_broken_stack(path, ram):
    """A stack that leads astray is followed no further than it can be; what
    is left of it is only looked through."""
    found = [t for t in tasks(path) if t['comm'] == 'fifteen letters'][0]
    sp = found['stack'][2]['sp']
    with damage(ram, [(int(sp, 16) - 8, 0x4141414141414141)]):
        now = [t for t in tasks(path) if t['comm'] == 'fifteen letters'][0]
    assert now['stack'][:2] == found['stack'][:2]
    assert not any(f['exact'] for f in now['stack'][3:]), now
    names = [f.get('symbol') for f in now['stack']]
    assert 'vfs_read' in names and now['stack'][-1]['user'], now


def check_people(path):
    """dlog-core says the same in a table, and as the kernel prints stacks."""
    table = program('dlog-core', '--tasks', path).decode()
    assert re.search(r'^ +\d+ +\d+ +1 +\d D +waits \(in D\)$', table, re.M)
    assert re.search(r'^ +2 +2 +0 +\d S +\[kthreadd\]$', table, re.M), table
    assert 'thread\\x09three' in table, table
    stacks = program('dlog-core', '--stacks', path).decode()
    sleeper = stacks.split('in a module\n')[1].split('\n\n')[0].split('\n')
    assert re.match(r' __schedule\+0x\w+/0x\w+$', sleeper[0]), sleeper
    assert re.search(r'^ uhid_char_read\+0x\w+/0x\w+ \[uhid\]$',
                     '\n'.join(sleeper), re.M), sleeper
    assert re.match(r' user space at 0x[0-9a-f]+$', sleeper[-1]), sleeper
    spins = stacks.split('spins\n')[1].split('\n\n')[0].split('\n')
    assert 'registers not known' in spins[0], spins
    assert all(line.startswith(' ? ') for line in spins[1:]), spins


def vmlinux_with(symbols, out, offset):
    """The kernel's vmlinux with the symbols of /proc/kallsyms, as linked."""
    vmlinux = Kernel('6.1').vmlinux
    with tempfile.NamedTemporaryFile('w') as f:
        for word in symbols:
            addr = int(word[0], 16)
            if len(word) > 3:
                continue
            where = '0x%x' % addr if addr < 1 << 32 else \
                '.text:0x%x' % (addr - offset - 0xffffffff81000000)
            f.write('--add-symbol "%s=%s"\n' % (word[2], where))
        f.flush()
        subprocess.run(['objcopy', '@' + f.name, vmlinux, out], check=True)


def check_vmlinux(path, told):
    """Without its own tables the guest's tasks and stacks are the same by the
    vmlinux of its build; another one is refused."""
    before = tasks(path)
    with Ram(path) as ram, tempfile.NamedTemporaryFile() as vmlinux:
        vmlinux_with(told.symbols, vmlinux.name,
                     int(ram.info['KERNELOFFSET'], 16))
        btf = int(ask(path, ['symbol __start_BTF'])[0], 16)
        assert btf % 8 == 0
        with damage(ram, [(ram.symbol('kallsyms_num_syms') & ~7, 0),
                          (btf, 0)]):
            assert ask(path, ['symbol _stext', 'sizeof task_struct']) == \
                ['- 6', '- 6']
            why = ask(path, ['tasks'])[0]
            assert why.startswith('- 6 ') and 'vmlinux' in why, why
            by_file = tasks(path, args=['vmlinux=' + vmlinux.name])
        assert by_file == before
        for other in (Kernel('6.12').vmlinux, Kernel('6.1').bzimage, '/none',
                      __file__):
            done = subprocess.run([RAMQUERY, path, 'vmlinux=' + other],
                                  stdin=subprocess.DEVNULL, text=True,
                                  capture_output=True)
            assert done.returncode == 1 and other in done.stderr, done


def mapped(ram, addr):
    try:
        return ram.find(addr)
    except AssertionError:
        return None     # the page behind a stack


def check_random_damage(path, rounds, seed):
    """Whatever the bytes are: no crash, no read outside, an end."""
    chance = random.Random(seed)
    found = tasks(path)
    names = ('kallsyms_num_syms', 'kallsyms_relative_base', 'kallsyms_names',
             'kallsyms_offsets', 'kallsyms_token_table',
             'kallsyms_token_index')
    with Ram(path) as ram:
        symbols = ask(path, ['symbol ' + name for name in (
            '__start_BTF', '__start_orc_unwind_ip', '__start_orc_unwind',
            'modules', '__per_cpu_offset', 'nr_cpu_ids', 'tk_core',
            'saved_command_line', 'init_task')])
        module = ram.word(ram.find(int(symbols[3], 16)))
        spots = [(ram.symbol(name), 65536) for name in names]
        spots += [(int(addr, 16), 4096) for addr in symbols]
        spots += [(int(symbols[0], 16), 4 << 20), (module, 1024)] * 3
        spots += [(int(t['task'], 16), 9000) for t in found]
        spots += [(int(f['sp'], 16) - 64, 128) for t in found
                  for f in t['stack'] if not f['user']]
        seen = 0
        for n in range(rounds):
            words = {}
            for _ in range(chance.choice((1, 4, 64))):
                base, size = chance.choice(spots)
                addr = (base & ~7) + chance.randrange(size) // 8 * 8
                off = mapped(ram, addr)
                if off is None:
                    continue
                value = chance.choice((
                    lambda: chance.getrandbits(64),
                    lambda: chance.choice(spots)[0],
                    lambda: ram.word(off) ^ 1 << chance.randrange(64),
                    lambda: chance.choice((0, 1, 1 << 31, (1 << 64) - 1)),
                ))()
                words[addr] = value
            with damage(ram, words.items()):
                lines = ask(path, ['kernel', 'real', 'at ffffffffc0300000',
                                   'symbol uhid_char_read', 'stacks', 'trace'],
                            tool=SANE)
            seen += any(line.startswith('{') for line in lines)
        # Most of it must still be found, or nothing was looked at.
        assert seen > rounds / 4, seen


def check_all(path, told, console, regs):
    found = by_pid(tasks(path))
    check_tasks(found, told)
    check_stacks(found, told)
    check_symbols(path, told)
    check_kernel(path, told)
    check_panic(path, console, regs)
    check_people(path)
    with Ram(path) as ram:
        check_damaged_lists(path, ram)
        check_broken_stack(path, ram)


@case
def what_it_says_is_what_the_guest_said():
    with dead_guest() as (path, told, console, regs):
        check_all(path, told, console, regs)


@case(long=True, timeout=600)
def linux_6_12_with_kaslr_and_all_symbols():
    with dead_guest('6.12', 'seabios', 'cat') as (
            path, told, console, regs):
        assert len(told.symbols) > 100000
        check_all(path, told, console, regs)


@case(long=True, timeout=600)
def linux_6_1_with_kaslr_by_vmlinux_and_damaged():
    with dead_guest('6.1', 'seabios', 'cat') as (
            path, told, console, regs):
        check_all(path, told, console, regs)
        check_vmlinux(path, told)
        check_random_damage(path, 60, 'ram_tasks')


if __name__ == '__main__':
    main()
