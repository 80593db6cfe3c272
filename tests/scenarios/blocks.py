#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""What QEMU's plugin kept of the last blocks leads to where real guests hang or
die: dlog-read --blocks, on both versions of QEMU.

Where the code lies is asked of the guest's /proc/kallsyms before; what it does
there is known from tests/scenarios/module/dlogtest.c.
"""

import json
import os
import sys
import tempfile

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from lib.case import case, main, until  # noqa: E402 (needs the path above)
from lib.world import BUILD, World, tool  # noqa: E402

PLUGIN = os.path.join(BUILD, 'lib/libdlog-plugin.so')


class Recorded(World):
    """A guest with the plugin: its region is self.plugin."""

    def __init__(self, smp=2, **more):
        f, self.plugin = tempfile.mkstemp(prefix='dlog-plugin-')
        os.close(f)
        tool('dlog-create', '-q', '-f', '-s', '8M', '-r', str(2 * smp + 1),
             self.plugin)
        super().__init__(smp=smp, qemu_args=[
            '-no-reboot', '-plugin',
            '%s,region=%s,blocks=on' % (PLUGIN, self.plugin)], **more)

    def __exit__(self, *why):
        super().__exit__(*why)
        os.unlink(self.plugin)
        if os.path.exists(self.plugin + '.syms'):
            os.unlink(self.plugin + '.syms')

    def learn(self):
        """Where the functions of dlogtest lie, as {name: range}."""
        self.load_driver()
        self.load_test()
        text = self.guest.must("grep '\\[dlogtest\\]' /proc/kallsyms")
        rows = sorted((int(a, 16), name) for a, kind, name, *_ in
                      map(str.split, text.splitlines()) if kind in 'tT')
        with open(self.plugin + '.syms', 'w') as f:
            f.write(''.join('%016x t %s [dlogtest]\n' % row for row in rows))
        ends = [a for a, _ in rows[1:]] + [rows[-1][0] + 4096]
        self.at = {name: range(a, end)
                   for (a, name), end in zip(rows, ends)}

    def blocks(self, *args):
        """Of each CPU what dlog-read says, oldest first."""
        cpus = {}
        for line in tool('dlog-read', '--blocks', '-o', 'json', '--symbols',
                         self.plugin + '.syms', *args,
                         self.plugin).splitlines():
            o = json.loads(line)
            cpus.setdefault(o['cpu'], []).append(o)
        return cpus

    def names(self, o):
        """The functions of dlogtest that a block or loop lies in."""
        addresses = [int(b['address'], 16) for b in o.get('loop', [o])]
        return {name for a in addresses for name in
                [n for n in self.at if a in self.at[n]] or [None]}


def hang(qemu=None):
    """All CPUs go round in hang(), seconds long: more blocks than the ring can
    hold (some 180,000), and still what led there is told."""
    with Recorded(qemu=qemu) as w:
        w.learn()
        w.die('hang-all')

        def both_go_round():
            cpus = w.blocks('--blocks=1')
            return len(cpus) == 2 and all(
                w.names(told[-1]) == {'hang'} and
                told[-1].get('times', 0) > 200000 for told in cpus.values())

        until('both CPUs hang', both_go_round, 90)
        w.guest.kill9()
        cpus = w.blocks()
        assert set(cpus) == {0, 1}, set(cpus)
        led = set()
        for cpu, blocks in cpus.items():
            *before, last = blocks
            assert w.names(last) == {'hang'}, last
            assert last['times'] > 200000, last
            assert all(b['symbol'].startswith('hang+0x')
                       for b in last['loop']), last
            # hang() was entered once, at its beginning.
            entry = [b for b in before if 'address' in b and
                     int(b['address'], 16) == w.at['hang'].start]
            assert len(entry) == 1 and entry[0]['symbol'] == 'hang', entry
            assert sum(len(b.get('loop', [b])) for b in blocks) <= 100
        # One of them had asked for it, and sent the other an interrupt.
        for blocks in w.blocks('--blocks=2000').values():
            led |= set.union(*map(w.names, blocks))
        assert 'set_die' in led, led
        # -c, N, and what people see.
        assert list(w.blocks('-c', '1')) == [1]
        text = tool('dlog-read', '--blocks=1', '--symbols',
                    w.plugin + '.syms', w.plugin).decode()
        print(text)
        assert text.count(' hang+0x') >= 2 and text.count(' times') == 2, text


@case
def a_hang_with_interrupts_off():
    hang()


@case(long=True)
def a_hang_on_debian_13s_qemu():
    hang('trixie')


def triple(firmware, qemu=None):
    """The last block is the one that triggers what no handler handles."""
    with Recorded(smp=1, firmware=firmware, qemu=qemu) as w:
        w.learn()
        w.die('triple')
        w.guest.wait_exit()
        blocks = w.blocks()[0]
        names = [w.names(b) for b in blocks if 'gap' not in b]
        assert names[-1] <= {'die_triple', 'set_die'}, names
        # The plugin ended in order: all is committed.
        tool('dlog-read', '--check', w.plugin)
        all_of_it = w.blocks('--blocks=1000000')[0]
        assert len(all_of_it) > len(blocks)
        # Executed counts grow by each block's instructions, without a gap.
        count = all_of_it[0]['executed']
        for o in all_of_it:
            assert o['executed'] == count, (o, count)
            count += o.get('times', 1) * sum(
                b['instructions'] for b in o.get('loop', [o]))


@case(long=True)
def a_triple_fault_under_seabios():
    triple('seabios')


@case(long=True)
def a_triple_fault_under_ovmf():
    triple('ovmf', 'trixie')


if __name__ == '__main__':
    main()
