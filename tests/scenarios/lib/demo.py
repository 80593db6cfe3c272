# SPDX-License-Identifier: GPL-2.0-or-later
"""What guest-patch/baremetal/demo said it had written, and what is there.

The kernel says "line N" or "event N" on its serial port after each append has
returned; what such a record holds is computed here from N and the number of
the boot, not taken from what it said.  m below has m.guest, whose console() is
the kernel's, and m.read(options of dlog-read ...), a list of records.
"""

import os
import re
import subprocess

from .world import BUILD

KERNEL = os.path.join(BUILD, 'baremetal/demo.elf')
LETTERS = 'abcdefghijklmnopqrstuvwxyz' * 2
LEVELS = 8


def symbol(name):
    """The address of a symbol of the kernel."""
    out = subprocess.run(['nm', KERNEL], check=True, stdout=subprocess.PIPE,
                         text=True).stdout
    return int(re.search(r'^([0-9a-f]+) T %s$' % name, out, re.M)[1], 16)


def said(console):
    """{boot: (lines, events, ticks)} that the kernel says were committed; of
    ticks the number, which is a lower bound."""
    boots, now = {}, None
    # What follows the last newline is half a line.
    for line in console[:console.rfind('\n')].splitlines():
        begin = re.search(r'^demo: boot (\d+) at ', line)
        if begin:
            now = boots[int(begin[1])] = ([], [], [0])
        word = re.search(r'^(line|event|tick) (\d+)$', line)
        if word:
            which = ('line', 'event', 'tick').index(word[1])
            if which < 2:
                now[which].append(int(word[2]))
            else:
                now[2][0] = int(word[2])
        last = re.search(r'^demo: .* now, tick (\d+)$', line)
        if last and now:
            now[2][0] = int(last[1])
    return boots


def check_numbers(numbers, told, more, lapped):
    """From 1, or where the ring was lapped from later on, each one to the
    last that was told of; up to `more` behind it."""
    if lapped and not numbers:
        return
    first = numbers[0] if lapped else 1
    assert numbers == list(range(first, first + len(numbers)))
    assert told <= first + len(numbers) - 1 <= told + more, (
        first, len(numbers), told)


def check_boot(records, boot, told, lapped, more=0):
    """All of what it told of is there, once and in order."""
    mine = [r for r in records if r['boot'] == boot]
    text = [r for r in mine if r['kind'] == 'text' and
            r['text'].startswith('line ')]
    numbers = [int(r['text'].split()[1]) for r in text]
    check_numbers(numbers, len(told[0]), more, lapped)
    for n, r in zip(numbers, text):
        assert r['text'] == 'line %d of boot %d: %s' % (
            n, boot, LETTERS[:n * 7 % 53]), r
        assert r['level'] == n % LEVELS, r
    steps = [r['fields'] for r in mine if r.get('name') == 'demo:step']
    numbers = [step['number'] // 3 for step in steps]
    check_numbers(numbers, len(told[1]), more, lapped)
    for n, step in zip(numbers, steps):
        assert step == {'number': 3 * n, 'square': hex(9 * n * n),
                        'what': 'step'}, step
    ticks = [r['fields']['number'] for r in mine
             if r.get('name') == 'demo:tick']
    check_numbers(ticks, told[2][0], len(ticks), lapped)
    return len(text) + len(steps) + len(ticks)


def check(m, boots, more=0, keep=None):
    """The region holds what the console told, of so many boots; with keep,
    later ones have overwritten older ones, but none of the last so many."""
    told = said(m.guest.console())
    assert sorted(told) == list(range(1, boots + 1)), sorted(told)
    loss = m.read('--stats')[0]['loss']
    assert not any(l['corrupt'] or l['dropped'] for l in loss), loss
    assert sum(l['torn'] for l in loss) <= more
    lapped = {l['boot'] for l in loss if l['overwritten']}
    records = m.read()
    if keep:
        # Of a boot that is wholly overwritten there is no loss to be told.
        lapped |= set(told) - {r['boot'] for r in records
                               if r['kind'] == 'text' and r['ring'] == 0}
        assert lapped == set(range(1, len(lapped) + 1)), lapped
        assert 0 < len(lapped) <= boots - keep, lapped
    count = sum(check_boot(records, boot, told[boot], boot in lapped, more)
                for boot in sorted(told))
    print('%d boots, %d records, lapped: %s' % (boots, count, lapped or 'none'))
