# SPDX-License-Identifier: GPL-2.0-or-later
"""Figures of a guest kernel: instructions, host time under TCG, accesses.

Relies on tests/scenarios/lib for guests, on tests/bench/module for what runs
in them.  A figure of the modules comes in hundredths.
"""

import os
import re
import tempfile

from common import BUILD, KERNEL, OUT, BenchError, compile_modules, \
    create_region, program, say
from lib.guest import Guest
from table import Row

MARK = re.compile(r'memory_region_ops_write .* addr 0x80 value (0x[0-9a-f]+) ')

LOG = os.path.join(OUT, 'kernel.log')

# The kernel's trace buffer is one page until somebody needs it.
TRACE_BUFFER = 'echo 4096 > /sys/kernel/tracing/buffer_size_kb'
CONSOLE = 'echo %s > /sys/class/tty/ttyS0/console'


def guest(folder, qemu_args=()):
    """One CPU, a region, our modules in /."""
    region = os.path.join(folder, 'region')
    create_region(region, '4M', '-r', '1')
    files = dict(compile_modules())
    files['/dlog.ko'] = os.path.join(BUILD, 'guest', KERNEL, 'dlog.ko')
    return Guest(smp=1, cpu='max', files=files, append='loglevel=1',
                 qemu_prefix=[program('dlog-qemu'), '--qmp=none', region, '--'],
                 qemu_args=list(qemu_args))


def figures(vm, module, args=''):
    """Loads a measuring module: {name: figure}."""
    vm.must('dmesg -C')
    vm.sh('insmod /%s.ko %s 2>/dev/null' % (module, args), timeout=240)
    found = dict(re.findall(r'%s: (\w+) (\d+)' % module,
                            vm.must('dmesg | grep %s: || :' % module)))
    if not found:
        raise BenchError('%s.ko %s gave no figure; the guest said:\n%s' % (
            module, args, vm.must('dmesg | tail')))
    return {name: int(value) / 100 for name, value in found.items()}


def appends(vm, taken, args=''):
    """Figures of appends that are known to be taken, or not to be."""
    found = figures(vm, 'dlogbench', args)
    if found['taken'] != taken:
        raise BenchError('the driver %s appends' % (
            'takes' if found['taken'] else 'does not take'))
    return found


def traced(vm):
    """{name: figure} of an event and a function that somebody has on."""
    vm.must('dmesg -C; echo 1 > /sys/module/dlogtraced/parameters/measure')
    return {name: int(value) / 100 for name, value in re.findall(
        r'dlogtraced: (\w+) (\d+)', vm.must('dmesg'))}


def tracing(vm):
    """Rows of trace events and functions; dlog.ko is loaded and records."""
    files = '/sys/kernel/tracing/'
    event = files + 'events/dlogbench/enable'
    # As large as the driver's, so that both are full and overwrite.
    vm.must('insmod /dlogtraced.ko; cd %s; echo local > trace_clock; '
            'echo 64 > buffer_size_kb' % files)
    off = traced(vm)
    vm.must('echo 1 > %s' % event)
    theirs = {'event64': traced(vm)['event64'] - off['event64']}
    vm.must('echo 0 > %s' % event)
    vm.must('cd %s; echo dlogtraced_function > set_ftrace_filter; '
            'echo function > current_tracer' % files)
    theirs['function'] = traced(vm)['function'] - off['function']
    vm.must('cd %s; echo nop > current_tracer; echo > set_ftrace_filter' %
            files)
    vm.must('echo "event on dlogbench:*" > /dev/dlog; '
            'echo "function on dlogtraced_function" > /dev/dlog')
    ours = traced(vm)
    vm.must('echo "event off dlogbench:*" > /dev/dlog; '
            'echo "function off dlogtraced_function" > /dev/dlog')
    vm.must(TRACE_BUFFER)
    ours = {name: ours[name] - off[name] for name in ours}
    note = 'instructions: ours %g, into ftrace\'s own buffer %g'
    return [
        Row('trace_event_ratio', 'times',
            ours['event64'] / theirs['event64'], 1.4,
            note=note % (ours['event64'], theirs['event64'])),
        Row('trace_function_ratio', 'times',
            ours['function'] / theirs['function'], 1.4,
            note=note % (ours['function'], theirs['function'])),
    ]


def added(value, to):
    return 100 * (value - to) / to


def instructions():
    """A guest that counts its instructions."""
    say('a guest that counts its instructions (-icount): one minute')
    with tempfile.TemporaryDirectory() as folder, \
            guest(folder, ['-icount', 'shift=0,sleep=off']) as vm:
        vm.must(TRACE_BUFFER)
        vm.must(CONSOLE % 'N')
        say('  the kernel\'s own recorders')
        bare = figures(vm, 'dlogpeers', 'mode=printk')['printk']
        vm.must(CONSOLE % 'Y')
        peers = figures(vm, 'dlogpeers', 'mode=others')
        vm.must(CONSOLE % 'N')
        vm.must('insmod /dlog.ko')
        say('  dlog')
        captured = figures(vm, 'dlogpeers', 'mode=printk')['printk']
        on = appends(vm, 1)
        vm.must('echo "event on bench:event set=bench; set arm bench" '
                '> /dev/dlog')
        in_set = appends(vm, 1)
        vm.must('echo "event on bench:event; consumer add bench:event count" '
                '> /dev/dlog')
        consumed = appends(vm, 1)
        vm.must('echo "consumer remove bench:event count" > /dev/dlog')
        vm.must('echo stop > /dev/dlog')
        off = appends(vm, 0)
        stopped = figures(vm, 'dlogpeers', 'mode=printk')['printk']
        vm.must('echo start > /dev/dlog')
        trace_rows = tracing(vm)
    floor, clock = peers.pop('floor'), peers.pop('clock')
    crc = peers.pop('floor_crc32q')
    beside = {'floor_with_crc32q': crc, 'trace_puts': peers['trace_puts'],
              'tracepoint': peers['tracepoint'],
              'trace_printk': peers['trace_printk'], 'printk': bare,
              'printk_ttyS0': peers['printk_ttyS0']}
    unit = 'instructions'
    return [
        Row('append_text64', unit, on['text64_irqs_on'], 200, peers=beside,
            floor=floor,
            note='interrupts off: %g' % on['text64']),
        Row('append_text64_lone', unit, on['lone'], peers={}, floor=floor,
            note='the first in an epoch of the clock, once in 2^20 counts'),
        Row('append_event16', unit, on['event16_irqs_on'], 120,
            peers={'tracepoint': peers['tracepoint']}, floor=floor,
            note='interrupts off: %g' % on['event16']),
        Row('append_event16_hooked', unit, consumed['event16_irqs_on'],
            peers={'in_a_set': in_set['event16_irqs_on'],
                   'plain': on['event16_irqs_on']}, floor=floor,
            note='with the consumer count'),
        Row('append_off', unit, max(off['text64'], off['event16'],
                                    on['switched_off']), 5,
            note='recording stopped: dlog_write() %g, dlog_event() %g; event '
            'switched off: %g' % (off['text64'], off['event16'],
                                  on['switched_off'])),
        Row('printk_added_percent', 'percent', added(captured, bare), 10,
            peers={'recording_stopped': added(stopped, bare)},
            note='instructions of a printk without console: %g, captured %g, '
            'with recording stopped %g' % (bare, captured, stopped)),
        Row('clock', unit, clock, peers={}, note='local_clock()'),
        *trace_rows,
    ]


def save_log(vm):
    """Keeps what a real kernel says, for the reader's part."""
    lines = [line for line in vm.must('dmesg -r').splitlines()
             if re.match(r'<\d+>\[', line)]
    os.makedirs(OUT, exist_ok=True)
    with open(LOG, 'w') as f:
        f.write('\n'.join(lines) + '\n')


def kernel_log():
    """Path of that."""
    if not os.path.exists(LOG):
        say('a guest, for the text that a kernel says')
        with Guest() as vm:
            save_log(vm)
    return LOG


def wall():
    """A guest at full speed: host time, and accesses to devices."""
    say('a guest under TCG: wall time and device accesses: half a minute')
    with tempfile.TemporaryDirectory() as folder:
        trace = os.path.join(folder, 'trace')
        with guest(folder, ['-D', trace]) as vm:
            save_log(vm)
            vm.must('insmod /dlog.ko')
            vm.must(TRACE_BUFFER)
            ns = appends(vm, 1, 'mode=wall')
            for way in ('read', 'write'):
                vm.qmp('trace-event-set-state', enable=True,
                       name='memory_region_ops_' + way)
            vm.sh('insmod /dlogbench.ko mode=quiet 2>/dev/null')
            vm.quit()
        with open(trace) as f:
            counts = accesses(f)
    return [
        Row('append_tcg_wall', 'ns', ns['text64'], round(ns['trace_puts'], 1),
            peers={'trace_puts': ns['trace_puts'],
                   'floor_with_crc32q': ns['floor_crc32q']},
            beside='trace_puts', note='target: __trace_puts in the same guest'),
        Row('append_mmio', 'accesses', counts[1] / 10000, 0,
            peers={'printk_ttyS0': counts[2] / 100},
            floor=counts[0] / 10000,
            note='of 10,000 appends %d' % counts[1]),
    ]


def accesses(lines):
    """Memory-region operations between the module's marks: three counts."""
    counts, step = [0, 0, 0], 0
    for line in lines:
        if 'memory_region_ops_' not in line:
            continue
        mark = MARK.search(line)
        if mark:
            step = int(mark.group(1), 16)
        elif 1 <= step <= 3:
            counts[step - 1] += 1
    if step != 4 or not counts[2]:
        raise BenchError('the trace of memory-region operations has not got '
                         'all marks: last %d' % step)
    return counts
