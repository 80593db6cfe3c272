#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""dlog-read --blocks: the last blocks that each CPU executed, loops folded.

What must come out is computed here from the words that went in, as
docs/abi.md section 7 has them.
"""

import itertools
import os
import random
import struct
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from cli import case, complete, fails, lines, long_options, objects  # noqa: E402
from cli import path, read, region, same, texts  # noqa: E402
from lib.case import main  # noqa: E402

KIND_BLOCKS = 14
RECORD = 63             # blocks in a record, as the plugin has it


def block(pc, n=1):
    return n << 57 | pc & (1 << 57) - 1


def pc_of(word):
    pc = word & (1 << 57) - 1
    return pc | 0x7f << 57 if pc >> 56 else pc


def insns(word):
    return word >> 57


def repeat(period, blocks):
    return period << 51 | blocks


def record(executed, words, cpu=0, ns=1000):
    return 'record %d %d %d %s\n' % (
        KIND_BLOCKS, cpu, ns,
        struct.pack('<Q%dQ' % len(words), executed, *words).hex())


def records(words, executed=0, cpu=0):
    """A script: words of a CPU, and what they stand for."""
    script, truth = '', []
    for at in range(0, len(words), RECORD):
        script += record(executed + sum(map(insns, truth)),
                         words[at:at + RECORD], cpu, 1000 + at)
        for word in words[at:at + RECORD]:
            if insns(word):
                truth.append(word)
                continue
            body = truth[-(word >> 51):]
            truth += itertools.islice(itertools.cycle(body),
                                      word & (1 << 51) - 1)
    return script, truth


def unrolled(shown):
    """Blocks that the objects of one CPU stand for; their counts must fit."""
    got = []
    executed = shown[0]['executed']
    for o in shown:
        same(o['executed'], executed)
        body = [block(int(b['address'], 16), b['instructions'])
                for b in o.get('loop', [o])]
        got += body * o.get('times', 1)
        executed += o.get('times', 1) * sum(map(insns, body))
    return got


def lengths(shown):
    return [(len(o['loop']), o['times']) if 'loop' in o else 1
            for o in shown]


A, B, C, D = (block(0xffffffff81000000 + 16 * i, i + 1) for i in range(4))


@case
def what_people_see():
    words = [A, B, C] + [B, C, D] * 5 + [B, B, A]
    g = region('boot 6.1\nkernel 0xffffffff81000000\n' +
               records(words, 1000)[0])
    with open(path('System.map'), 'w') as f:
        f.write('ffffffff81000000 T _stext\nffffffff81000010 t loop\n'
                'ffffffff81000030 t tail\n')
    same(lines('--blocks', '--symbols', path('System.map'), g), [
        'boot 1, cpu 0, %d instructions:' % (1000 + sum(map(insns, words))),
        '            1000   1  0xffffffff81000000  _stext',
        '            1001   2  0xffffffff81000010  loop',
        '            1003   3  0xffffffff81000020  loop+0x10',
        '            1006   2  0xffffffff81000010  loop',
        '            1008   3  0xffffffff81000020  loop+0x10',
        '            1011   4  0xffffffff81000030  tail',
        '                 ... 3 blocks, 5 times',
        '            1051   2  0xffffffff81000010  loop',
        '            1053   2  0xffffffff81000010  loop',
        '            1055   1  0xffffffff81000000  _stext'])
    # A loop's blocks count once, and it is shown as a whole.
    same(lines('--blocks=6', g)[1:], [
        '            1006   2  0xffffffff81000010',
        '            1008   3  0xffffffff81000020',
        '            1011   4  0xffffffff81000030',
        '                 ... 3 blocks, 5 times',
        '            1051   2  0xffffffff81000010',
        '            1053   2  0xffffffff81000010',
        '            1055   1  0xffffffff81000000'])
    same(len(lines('--blocks=5', g)), 4)
    same(len(lines('--blocks=1', g)), 2)


@case
def objects_of_json():
    g = region('label web\nboot 6.1\nring 1\n' + records([A] + [B, C] * 4)[0])
    where = {'file': g, 'boot': 1, 'ring': 1, 'cpu': 0}
    b, c = ({'address': hex(pc_of(w)), 'instructions': insns(w),
             'symbol': None} for w in (B, C))
    same(objects('--blocks', g), [
        dict(where, executed=0, address='0xffffffff81000000', instructions=1,
             symbol=None),
        dict(where, executed=1, times=4, loop=[b, c])])


@case
def loops_of_the_writer():
    g = region('boot 6.1\n' + records([A, B, C, repeat(2, 1000001), D])[0])
    shown = objects('--blocks', g)
    # (B C) and 500,000 times more, B, then D.
    same(lengths(shown), [1, (2, 500001), 1, 1])
    same(shown[3]['executed'], 1 + 500001 * 5 + 2)
    # Over records, and of blocks in the one before.
    n = 10 ** 12
    g = region('boot 6.1\n' + record(0, [A] * 2 + [B] * 2 + [C] * 59) +
               record(6 + 59 * 3, [repeat(1, n)]) +
               record(6 + 59 * 3 + n * 3, [D]))
    same(lengths(objects('--blocks', g)), [1, 1, 1, 1, (1, n + 59), 1])
    # One that is shorter than what makes a loop here stays as it is.
    g = region('boot 6.1\n' + records([A, B, repeat(2, 2), C])[0])
    same(lengths(objects('--blocks', g)), [1] * 5)
    # A loop with another one in it.
    inner = [A, B] * 4 + [C, D]
    shown = objects('--blocks', region('boot 6.1\n' + records(
        inner * 3 + [repeat(10, 10 ** 5)])[0]))
    same(unrolled(shown), inner * (3 + 10 ** 4))
    same(shown[-1]['times'], 10 ** 4 - 3)
    # Words that say nothing sensible, and the largest numbers.
    for word in (repeat(33, 5), repeat(0, 5), repeat(2, 5)):
        g = region('boot 6.1\n' + record(0, [A, word, B]))
        same([o.get('gap') for o in objects('--blocks', g)],
             [None, 'not known', None])
    g = region('boot 6.1\n' + record(0, [A, B] + [
        repeat(n % 2 + 1, (1 << 51) - 1) for n in range(60)]))
    assert read('--blocks', g).code == 0


@case
def any_blocks():
    """All that went in comes out, for all kinds of loops and repeats."""
    random.seed(7)
    for _ in range(25):
        words, known = [], 0
        while len(words) < 3000:
            kind = random.random()
            few = [block(random.randrange(6) * 32, random.randrange(1, 4))
                   for _ in range(random.randrange(1, 40))]
            if kind < .3:
                words += few
            elif kind < .7 or known < 40:
                words += (few * random.randrange(1, 80))[:random.randrange(1, 900)]
            else:
                words.append(repeat(random.randrange(1, 33),
                                    random.randrange(1, 300)))
            known = len(words)
        script, truth = records(words, random.randrange(1 << 40))
        g = region('boot 6.1\n' + script)
        shown = objects('--blocks=1000000', g)
        same(unrolled(shown), truth)
        some = objects('--blocks=200', g)
        # The same, but fewer of them.
        same(some, shown[-len(some):])
        n = sum(len(o.get('loop', [o])) for o in some)
        assert 200 - 32 < n <= 200 or len(some) == len(shown), n
        # Loops are found wherever they are: in what stands by itself none
        # is left.
        for at, o in enumerate(shown[:-96]):
            run = list(itertools.takewhile(lambda o: 'loop' not in o,
                                           shown[at:at + 96]))
            key = [(o['address'], o['instructions']) for o in run]
            for p in range(1, 33):
                assert len(key) < 3 * p or key[:p] * 3 != key[:3 * p], p


def kernel_at(*bases):
    """A script: functions first and second, 64 bytes each, of an object that
    lay at these addresses from these times on; 0: it is gone."""
    notes = b''.join(struct.pack('<II', at, 64) + name + b'\0'
                     for at, name in ((0, b'first'), (64, b'second')))
    return 'catalog 11 1 0 %s\ncatalog 12 1 0 %s\n' % (
        b'vmlinux\0'.hex(), notes.hex()) + ''.join(
            'catalog 13 1 %d %s\n' % (ns, struct.pack(
                '<IIQ', 1, 128 if base else 0, base).hex())
            for ns, base in bases)


@case
def names_are_of_that_time():
    """The guest was reset: its kernel is gone, or lies elsewhere."""
    a = 0xffffffff81000000
    one, two, bios = block(a), block(a + 64, 2), block(0xfffffff0, 3)
    dead = record(0, [one, two] * 5 + [one], ns=200) + \
        record(16, [bios], ns=400)
    where = ['first', 'second', 'first', None]

    def names(script):
        return [b['symbol'] for o in objects('--blocks', script)
                for b in o.get('loop', [o])]
    # The kernel had begun at 100, and was reset at 300.
    for gone in ((300, 0),), ((300, a + (1 << 24)),), \
            ((300, 0), (500, a + 64)), ((300, a - 64),):
        g = region('boot 6.1\n' + kernel_at((100, a), *gone) + dead)
        same(names(g), where)
        out = lines('--blocks', g)
        assert out[1].endswith('  first') and out[2].endswith('  second'), out
    # The next one has its own, also of what ran before anybody knew where.
    g = region('boot 6.1\n' + kernel_at((100, a), (300, 0), (500, a + 64)) +
               dead + record(19, [two, block(a + 128)], ns=450))
    same(names(g), where + ['first', 'second'])
    # A round that the next record breaks off is of its own record's time.
    g = region('boot 6.1\n' + kernel_at((100, a), (300, 0)) +
               record(0, [one, two] * 5 + [one], ns=200) +
               record(16, [one, bios], ns=400))
    same(names(g), ['first', 'second', 'first', None, None])


@case
def gaps():
    script = record(100, [A, B]) + record(103, [A]) + record(200, [A, B]) + \
        record(5, [C])
    shown = objects('--blocks', region('boot 6.1\n' + script))
    same([(o['executed'], o.get('gap')) for o in shown],
         [(100, None), (101, None), (103, None), (200, 'not known'),
          (200, None), (201, None), (5, 'not known'), (5, None)])
    out = lines('--blocks', region('boot 6.1\n' + script))
    same(out[4], '  -- not known --')
    # A repeat of what lies behind a gap.
    shown = objects('--blocks', region('boot 6.1\n' + record(0, [A, B]) +
                                       record(99, [repeat(1, 9)]) +
                                       record(200, [C])))
    same([o.get('gap', o.get('address')) for o in shown],
         ['0xffffffff81000000', '0xffffffff81000010', 'not known',
          '0xffffffff81000020'])
    # Behind a repeat that nobody knows the count begins anew with a record.
    shown = objects('--blocks', region('boot 6.1\n' + record(
        0, [repeat(3, 9), A, B]) + record(50, [C])))
    same([(o.get('gap'), o['executed']) for o in shown],
         [('not known', 0), (None, 0), (None, 1), (None, 50)])
    # Data that is no whole word, or none.
    g = region('boot 6.1\nrecord 14 0 5 01020304\nrecord 14 0 6 \n' +
               'record 14 0 7 %s\n' % struct.pack('<QQH', 0, A, 7).hex())
    same(len(objects('--blocks', g)), 1)


@case
def which_cpus_and_boots():
    g = region('rings 4\nboot 6.1\nring 2\n' + record(0, [A]) +
               'ring 3\n' + record(0, [B, B], cpu=1) +
               'boot 6.2\nring 2\n' + record(0, [C]) +
               'ring 3\n' + record(7, [D], cpu=1) +
               record(7, [D], cpu=4095) + 'boot 6.3\ntext 6 1 x\n')
    def who(*args):
        return [(o['boot'], o['cpu'], o['instructions'])
                for o in objects('--blocks', *args, g)]
    r = read('--blocks', g)
    same((r.code, r.out), (0, ''))
    assert 'no blocks' in r.err and 'boot 3' in r.err, r.err
    same(read('-q', '--blocks', g).err, '')
    err = read('--blocks', region('boot 6.1\n', 'none.img')).err
    assert 'no blocks' in err and 'boot 0' not in err, err
    same(who('-b2'), [(2, 0, 3), (2, 1, 4), (2, 4095, 4)])
    same(who('-b1', '-c', '1'), [(1, 1, 2), (1, 1, 2)])
    same(who('-b2', '-c', '0,4095'), [(2, 0, 3), (2, 4095, 4)])
    # Two files
    out = lines('--blocks', '-b2', g, g)
    same([line for line in out if line.endswith(':')],
         [g + ':', 'boot 2, cpu 0, 3 instructions:',
          'boot 2, cpu 1, 11 instructions:',
          'boot 2, cpu 4095, 11 instructions:'] * 2)


@case
def not_among_other_records():
    g = region('rings 4\nboot 6.1\ntext 6 1 one\nring 2\n' +
               record(3, [A, repeat(1, 9), B], cpu=1, ns=2) +
               'ring 0\ntext 6 3 two\n')
    r = read(g)
    same([line.split('] ')[1] for line in r.lines], ['one', 'two'])
    assert r.err.count('\n') == 1 and '--blocks' in r.err, r.err
    for args in ((), ('-n', '1'), ('-c', '0')):
        same(read('-q', *args, g).err, '')
        assert 'blocks' not in read('-q', *args, g).out
    same(texts('-t', 'blocks', g), [
        'blocks of cpu 1 after 3 instructions:', '0xffffffff81000000 1',
        'the last 1: 9 blocks more', '0xffffffff81000010 2'])
    got, = objects('-t', 'blocks', '-c', '1', g)
    same((got['kind'], got['arg'], got['level'], got['ring']),
         ('blocks', 1, 7, 2))
    same(bytes.fromhex(got['hex']),
         struct.pack('<4Q', 3, A, repeat(1, 9), B))
    same(objects('-t', 'blocks', '-c', '2', g), [])
    same([o['text'] for o in objects('-t', 'blocks,text', g)][::2],
         ['one', 'two'])
    same(texts('-t', 'blocks', region('boot 6.1\nrecord 14 0 1 00\n')),
         ['blocks: <cut short>'])
    # Other formats do without, or with when they are asked for.
    for output in 'export', 'html', 'perfetto', 'pstore', 'ctf':
        for more in (), ('-t', 'blocks,text'):
            r = read('-o', output, *more, '-w',
                     path('%s%d' % (output, len(more))), g)
            same((r.code, r.err), (0, ''))
    with open(path('export0'), 'rb') as f, open(path('export2'), 'rb') as h:
        same((f.read().count(b'DLOG_KIND=blocks'),
              h.read().count(b'DLOG_KIND=blocks')), (0, 1))


@case
def wrong_usage():
    g = region('boot 6.1\n')
    for n in '0', 'x', '-1', '10000000001', '':
        fails(read('--blocks=' + n, g), 2, 'number of blocks')
    fails(read('--blocks', '--stats', g), 2, '--blocks')
    fails(read('--blocks', '-o', 'export', g), 2, 'records')
    fails(read('--blocks', '-f', g), 2, '-f')
    assert '--blocks' in long_options(read('--help').out)
    same(complete('dlog', 'dlog-read', '--blo'), ['--blocks'])
    same(complete('dlog', 'dlog-read', '-t', 'bl'), ['blocks'])


if __name__ == '__main__':
    main()
