#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Searches ring.pml (and reader.pml), the model of the ring, exhaustively.

Each configuration is a case that must search its whole state space, find
nothing broken, and have reached what it is there for.  Each seeded bug is a
case in which the search must find the property that this bug breaks.
docs/model.md explains.

Relies on spin and gcc; what they build lies in a temporary folder.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile

sys.dont_write_bytecode = True
HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), 'scenarios'))

from lib.case import case, main, skip  # noqa: E402 (needs the path above)

MODEL = os.path.join(HERE, 'ring.pml')
DEPTH = 100000          # of a path, in steps; a deeper one is a failure
MEMORY = 1400           # MB; tests/run runs two at once
MEMORY_LONG = 8000

# MUSTn() in ring.pml.
PROPERTIES = {
    1: 'a reader accepts nothing but what was committed, exactly so',
    2: 'what was committed and is live is found, also behind a hole',
    3: 'losses are counted exactly, one for each stopped context at most',
    4: 'positions grow, no two writers own the same bytes of a lap',
    5: 'a stopped writer blocks nobody; a cas fails only for a success',
    6: 'a boot goes on behind all that is visible, and counts it',
}

# ring_cover() in ring.pml.
(LAP, RETRY, SHOWN, OPEN, MIXED, HOLE, NO_START, SKIPPED, ADOPT_OPEN, LATE,
 DIED, ADOPT_FAR, LOST) = range(1, 14)
GOALS = {
    LAP: 'a lap',
    RETRY: 'a compare-exchange that failed',
    SHOWN: 'a reader accepted a record',
    OPEN: 'a reader saw an open record',
    MIXED: 'a reader copied a record with words of others',
    HOLE: 'a record found behind one that was never finished',
    NO_START: 'records in a sub-buffer behind the newest START',
    SKIPPED: 'the same behind a sub-buffer that holds nothing',
    ADOPT_OPEN: 'a boot took over a ring with an open record',
    LATE: 'a writer that had been lapped stored into the next lap',
    DIED: 'a writer died between R and A',
    ADOPT_FAR: 'a boot found the end behind the newest START',
    LOST: 'a loss was counted, or others went on without the dead',
}

AT_REST = (LAP, RETRY, SHOWN, OPEN, HOLE, NO_START, LOST)
ADOPT = (RETRY, SHOWN, OPEN, HOLE, ADOPT_OPEN, DIED, ADOPT_FAR)

# name: definitions, goals to be reached
CONFIGS = {
    'nested': ('LOOK LEVELS=2 LEFT=6', AT_REST),
    'nested_nmi': ('LOOK LEVELS=3 LEFT=4 WINDOW=2', AT_REST + (SKIPPED,)),
    'nested_reader': ('READER LEVELS=2 LEFT=4 NR=2',
                      (LAP, RETRY, SHOWN, OPEN, MIXED)),
    'shared': ('LOOK CPUS=2 LEFT=5', AT_REST),
    'shared_reader': ('READER CPUS=2 LEFT=4 NR=2 S=5 LENS=1',
                      (LAP, RETRY, SHOWN, OPEN)),
    'stop': ('STOP CPUS=2 LEFT=4', (LAP, RETRY, DIED, LOST)),
    'stop_nested': ('STOP CPUS=2 LEVELS=2 LEFT=3 LENS=1',
                    (RETRY, DIED, LOST)),
    'ends': ('STOP CPUS=2 LEFT=3 ENDS', (RETRY, DIED, LOST)),
    'adopt': ('LOOK BOOTS=2 LEVELS=2 LEFT=4', ADOPT + (LAP,)),
    'adopt_again': ('LOOK BOOTS=3 LEVELS=2 LEFT=3', ADOPT),
    'adopt_shared': ('LOOK BOOTS=2 CPUS=2 LEFT=3', ADOPT),
    'late': ('LOOK LATE CPUS=2 LEFT=5', AT_REST + (LATE,)),
    'late_nested': ('LOOK LATE LEVELS=2 LEFT=5', (LAP, SHOWN, LATE)),
    'late_reader': ('READER LATE CPUS=2 LEFT=4 NR=2 S=5 LENS=1',
                    (LAP, SHOWN, OPEN, LATE)),
    'weak': ('READER WEAK LEFT=4 NR=2 S=6', (LAP, SHOWN, OPEN, MIXED)),
    'counts': ('LOOK LEVELS=2 LEFT=7 NR=7 S=5 LENS=1 CMOD=8',
               (RETRY, SHOWN, LOST)),
}

LONG = {
    'long_nested_nmi': ('LOOK LEVELS=3 LEFT=6 NR=4', AT_REST + (SKIPPED,)),
    'long_nested_reader': ('READER LEVELS=2 LEFT=5',
                           (LAP, RETRY, SHOWN, OPEN, MIXED)),
    'long_shared': ('LOOK CPUS=2 LEFT=7', AT_REST),
    'long_shared_nested': ('LOOK CPUS=2 LEVELS=2 LEFT=4', AT_REST),
    'long_shared_reader': ('READER CPUS=2 LEFT=4 NR=2',
                           (LAP, RETRY, SHOWN, OPEN, MIXED)),
    'long_stop_nested': ('STOP CPUS=2 LEVELS=2 LEFT=3',
                         (RETRY, DIED, LOST)),
    'long_adopt': ('LOOK BOOTS=3 LEVELS=2 LEFT=4', ADOPT + (LAP,)),
    'long_adopt_nmi': ('LOOK BOOTS=2 LEVELS=3 LEFT=4',
                       ADOPT + (LAP, SKIPPED)),
    'long_late': ('LOOK LATE CPUS=2 LEFT=6', AT_REST + (LATE,)),
    'long_late_reader': ('READER LATE CPUS=2 LEFT=4 NR=2',
                         (LAP, SHOWN, OPEN, MIXED, LATE)),
    'long_weak': ('READER WEAK LEVELS=2 LEFT=3 NR=2',
                  (LAP, RETRY, SHOWN, OPEN, MIXED)),
}

# name: definitions, properties of which one must be found broken
BUGS = {
    # The check says nothing of where the record lies.
    'bug_no_seed': ('BUG_NO_SEED READER LEFT=5', (1,)),
    # The same, with interrupts and a reader at rest.
    'bug_no_seed_at_rest': ('BUG_NO_SEED LOOK LEVELS=2 LEFT=5', (1, 2)),
    # D before B.
    'bug_early_commit': ('BUG_EARLY LOOK LEFT=3', (2,)),
    # No A.
    'bug_no_open': ('BUG_NO_OPEN LOOK LEFT=3', (3,)),
    # The head is loaded, then stored.
    'bug_plain_head': ('BUG_PLAIN_HEAD LOOK LEVELS=2 LEFT=3', (4,)),
    # Whoever saw that a START is due writes it, though its cas failed.
    'bug_start_not_owned': ('BUG_START LOOK LEVELS=2 LEFT=4', (2, 3)),
    # Count and position in two atomic steps.
    'bug_count_apart': ('BUG_COUNT LOOK LEVELS=2 LEFT=4', (3,)),
    # r->records is read behind R, when it may be ahead by half its range.
    'bug_near_late': ('BUG_NEAR LOOK LEVELS=2 LEFT=7 NR=7 S=5 LENS=1 CMOD=8',
                      (3,)),
    # Waits for the owner of the START.
    'bug_waits': ('BUG_WAIT STOP CPUS=2 LEFT=3 ENDS', (5,)),
    # A reader that validates first and copies then.
    'bug_reader_trusts': ('BUG_TRUST READER LEVELS=2 LEFT=3 NR=2', (1,)),
    # A reader that stops at the first sub-buffer that holds nothing.
    'bug_reader_stops': ('BUG_GAP LOOK LEVELS=3 LEFT=3', (2,)),
    # Looks one sub-buffer less far than contexts can be stopped.
    'bug_window': ('LOOK LEVELS=3 LEFT=3 WINDOW=1', (2,)),
    # A boot goes on in the last sub-buffer instead of behind it.
    'bug_adopt_last': ('BUG_ADOPT_LAST LOOK BOOTS=2 LEVELS=2 LEFT=3', (6,)),
    # A boot believes that each sub-buffer in use has a START.
    'bug_adopt_starts': ('BUG_ADOPT_STARTS LOOK BOOTS=2 LEVELS=2 LEFT=3',
                         (6,)),
    # No bug of the ring but its limit: as many STARTs can be unfinished as
    # there are sub-buffers, and nothing tells where the stream is.
    'limit_sub_buffers': ('LOOK BOOTS=2 LEVELS=2 LEFT=5 NR=2', (6,)),
}


def run(command, folder):
    return subprocess.run(command, cwd=folder, stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True, errors='replace')


def build(folder, words, memory, optimise):
    """The verifier of the model with these definitions, as folder/pan."""
    for tool in ('spin', 'gcc'):
        if not shutil.which(tool):
            skip('%s is not installed' % tool)
    made = run(['spin', '-a'] + ['-D' + word for word in words] + [MODEL],
               folder)
    assert made.returncode == 0 and 'rror:' not in made.stdout, made.stdout
    # COLLAPSE compresses states without loss.  No reduction: nearly every
    # step is global, and a count of all states is worth more.
    mode = '-DNP' if 'ENDS' in words else '-DSAFETY'
    made = run(['gcc', optimise, '-w', mode, '-DNOREDUCE', '-DCOLLAPSE',
                '-DMEMLIM=%d' % memory, '-o', 'pan', 'pan.c'], folder)
    assert made.returncode == 0, made.stdout


def trail(folder):
    """Where the path that was found leads, a line a step."""
    out = run(['./pan', '-r', 'ring.pml.trail'], folder).stdout
    for line in out.splitlines():
        step = re.search(r'proc +(\d+) \((\S+)\) \S*?(\w+\.pml:\d+) .*\t\[(.*)\]',
                         line)
        if step and not step[4].startswith(('else', '.(goto)', '(1)')):
            print('  %s %s, %s: %s' % step.groups())


class Search:
    """One run of spin; what it printed, understood."""

    def __init__(self, folder, words, memory):
        args = ['./pan', '-m%d' % DEPTH, '-n', '-w22']
        if 'ENDS' in words:
            args.append('-l')       # no cycle at all is progress here
        done = run(args, folder)
        self.out = out = done.stdout
        self.broken = [int(n) for n in re.findall(r'broken: property (\d+)',
                                                  out)]
        if re.search(r'pan:\d+: non-progress cycle', out):
            self.broken.append(5)
        self.goals = {int(n) for n in re.findall(r'covered: goal (\d+)', out)}
        found = re.search(r'State-vector (\d+) byte, depth reached (\d+), '
                          r'(?:\S+ )?errors: (\d+)', out)
        assert found, 'spin has not finished:\n' + out
        self.depth, self.errors = int(found[2]), int(found[3])
        states = re.search(r'([\d.e+]+) states, stored', out)
        used = re.search(r'([\d.]+)\s+total actual memory', out)
        self.states, self.used = int(float(states[1])), float(used[1])
        self.status = done.returncode

    def whole(self):
        """Was every state visited?  Raises if not."""
        out = self.out
        for bad in ('not completed', 'too small', 'out of memory', 'aborting',
                    'truncated', 'Bit statespace', 'Hash-Compact',
                    'Partial Order'):
            assert bad not in out, 'not exhaustive (%s):\n%s' % (bad, out)
        assert 'Full statespace search' in out and self.depth < DEPTH and \
            self.status == 0, 'not exhaustive:\n' + out


def search(definitions, memory, optimise='-O1'):
    words = definitions.split()
    print(definitions)
    with tempfile.TemporaryDirectory(prefix='dlog-model-') as folder:
        build(folder, words, memory, optimise)
        found = Search(folder, words, memory)
        print('%d states, %d steps deep, %.0f MB'
              % (found.states, found.depth, found.used), flush=True)
        if found.errors:
            trail(folder)
    for n in found.broken:
        print('broken: %d, %s' % (n, PROPERTIES[n]))
    return found


def holds(definitions, goals, memory):
    found = search(definitions, memory)
    assert not found.errors and not found.broken, found.out
    found.whole()
    for goal in goals:
        assert goal in found.goals, 'never happened: ' + GOALS[goal]
        print('reached: ' + GOALS[goal])


def is_caught(definitions, properties):
    found = search(definitions, MEMORY, '-O0')    # to build takes longer
    assert found.errors, 'the model does not see this bug:\n' + found.out
    assert found.broken and found.broken[0] in properties, \
        'found something else than property %s:\n%s' % (properties, found.out)


def declare():
    def one(name, function, *args, **about):
        def body():
            function(*args)
        body.__name__ = name
        case(body, **about)

    for name, (definitions, goals) in CONFIGS.items():
        one(name, holds, definitions, goals, MEMORY)
    for name, (definitions, properties) in BUGS.items():
        one(name, is_caught, definitions, properties)
    for name, (definitions, goals) in LONG.items():
        one(name, holds, definitions, goals, MEMORY_LONG, long=True,
            timeout=3600)


declare()

if __name__ == '__main__':
    main()
