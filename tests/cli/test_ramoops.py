#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Does dlog-read get out of a ramoops area what the kernel put in, also when
it was stopped in the middle of a write, and when bytes of it are damaged?

The areas are made byte by byte (ramoops_area.py); tests/scenarios/ramoops.py has
those of real guests.
"""

import os
import random
import struct
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import cli  # noqa: E402 (needs the path above)
from cli import case, fails, objects, read, same  # noqa: E402
from lib.case import main  # noqa: E402 (cli.py knows the path)
from ramoops_area import (HEADER, LINUX_6_1, SIG, Zone,  # noqa: E402
                          area, call, dump, parity_of, room)

RECORD, CONSOLE, FTRACE, PMSG = 0x4000, 0x8000, 0x2000, 0x2000
KERNEL = 0xffffffff81000000
LOOKS_LIKE = 1135       # found by trying


def line(n, step=0.001, text='line number %d, and that is all of it'):
    return '[%12.6f] %s' % (5 + n * step, text % n)


def console(lines, size=CONSOLE, parity=0):
    zone = Zone(size, parity)
    for one in lines:
        zone.write(one.encode() + b'\n')
    return zone


def numbers(n, first=0):
    return [line(i) for i in range(first, first + n)]


def empty_dumps(n, parity=0):
    return [Zone(RECORD, parity) for _ in range(n)]


def calls(cpu, count, first=0, size=FTRACE // 2, parity=0):
    zone = Zone(size, parity, SIG ^ LINUX_6_1)
    for n in range(first, first + count):
        zone.write(call(KERNEL + 16 * n, KERNEL + 0x1000, 2 * n + cpu, cpu))
    return zone


def save(data, name='area.img'):
    with open(cli.path(name), 'wb') as f:
        f.write(data)
    return cli.path(name)


def ring(entries, n):
    """Records of one stream: 0 dumps, 1 console, 2 pmsg, 3 ftrace."""
    return [e for e in entries if e['ring'] == n]


def shown(entries):
    return ['[%12.6f] %s' % (float(e['time']), e['text']) for e in entries]


def doubts(entries):
    return [e.get('doubt') for e in entries]


def facts(file, *options):
    r = read('--stats', *options, file)
    same((r.code, r.err), (0, ''))
    found = {}
    for name in ('zones', 'ECC', 'corrected', 'uncorrectable',
                 'lost headers'):
        found[name] = next(text.split(name, 1)[1].strip()
                           for text in r.lines if text.strip().startswith(name))
    return found


def everything(parity=0, order='6.1'):
    """Zones of one guest that panicked, and what it said."""
    said = numbers(100)
    dumps = [dump(RECORD, 1000007.5, said[60:], parity, packed=True)]
    ftrace = [calls(0, 20, parity=parity), calls(1, 20, parity=parity)]
    pmsg = [Zone(PMSG, parity).write(b'first message\nsecond message\n')]
    zones = dumps + empty_dumps(3, parity) + [console(said, parity=parity)]
    zones += ftrace + pmsg if order == '6.1' else pmsg + ftrace
    return zones, said


def check_everything(entries, said):
    same(shown(ring(entries, 1)), said)
    same(ring(entries, 0), [])      # the console has each of its lines
    same([e['text'] for e in ring(entries, 2)],
         ['first message', 'second message'])
    same([e['text'] for e in ring(entries, 3)],
         ['cpu:%d %x <- %x' % (n % 2, KERNEL + 16 * (n // 2), KERNEL + 0x1000)
          for n in range(40)])
    assert not any(doubts(entries)), doubts(entries)
    same({e['boot'] for e in entries}, {1})


@case
def all_kinds_of_zones():
    for parity in (0, 16, 8):
        for order in ('6.1', '6.12'):
            zones, said = everything(parity, order)
            file = save(area(*zones))
            check_everything(objects(file), said)
            f = facts(file)
            same(f['zones'], 'dumps: 4, of 1 with text; console: 1; pmsg: 1; '
                 'ftrace: 2')
            same(f['ECC'], '%d bytes for each 128' % parity if parity
                 else 'none')
            same((f['corrected'], f['uncorrectable'], f['lost headers']),
                 ('0 bytes', '0 blocks', '0'))


@case
def sizes_from_options():
    """Also with a parity too short to be told from chance."""
    for parity in (0, 1):
        zones, said = everything(16 * parity)
        file = save(b'\xa5' * 4096 + area(*zones))
        source = 'ramoops,record-size=16K,console-size=32K,ftrace-size=8K,' \
            'pmsg-size=8K,cpus=2,ecc=%d' % parity
        check_everything(objects('--source', source, '--at', '4096', file),
                         said)
    for bad, word in (('record-size=1G', 'record-size'), ('ecc=200', 'ecc'),
                      ('cpus=0', 'cpus'), ('size=3', 'size')):
        fails(read('--source', 'ramoops,' + bad, file), 2, word)


@case
def empty_and_others():
    file = save(bytes(65536))
    fails(read(file), 2, 'not a dlog region')
    fails(read('--source', 'ramoops', file), 2, 'holds nothing yet')
    same(objects(save(area(*empty_dumps(3), Zone(CONSOLE)))), [])
    rand = random.Random(1)
    noise = bytearray(rand.randbytes(1 << 20))
    fails(read(save(noise)), 2, 'not a dlog region')
    # Somewhere in a guest's memory there may be an area: not at its begin.
    memory = bytes(4 << 20) + area(*everything()[0])
    fails(read(save(memory)), 2, 'not a dlog region')
    check_everything(objects('--at', str(4 << 20), save(memory)),
                     numbers(100))


@case
def crosvm():
    """arch/src/pstore.rs: record and console have a quarter each, ftrace and
    pmsg what the module has by default; so dumps are larger than asked for."""
    size, said = 1 << 20, numbers(3000)
    record = (size - size // 4 - 2 * 4096) // 2
    zones = [dump(record, 2000009, said[2700:]), Zone(record),
             console(said, size // 4), *[
                 calls(cpu, 10, size=1024) for cpu in range(4)],
             Zone(4096).write(b'hello\n')]
    data = area(*zones)
    same(len(data), size)
    for options in ((), ('--source', 'ramoops,record-size=256K,'
                         'console-size=256K,ftrace-size=4096,pmsg-size=4096')):
        e = objects(*options, save(data))
        same(shown(ring(e, 1)), said)
        same(len(ring(e, 3)), 40)
        same([x['text'] for x in ring(e, 2)], ['hello'])
        same({x['boot'] for x in e}, {1})
        same(facts(save(data), *options)['zones'],
             'dumps: 2, of 1 with text; console: 1; pmsg: 1; ftrace: 4')


# The console's ring

@case
def a_full_ring_in_order():
    said = numbers(3000)
    e = objects(save(area(*empty_dumps(2), console(said))))
    got = shown(e)
    same(got[1:], said[-len(got) + 1:])
    assert len(got) > 400, len(got)
    same(doubts(e), ['torn'] + [None] * (len(got) - 1))
    # Its begin is gone, and not made up.
    assert said[-len(got)].endswith(e[0]['text'])


def stopped(copied, lap, text='the last words of this kernel'):
    """A ring that was full, or not, in which the last line was not copied
    whole; the rest is of the lap before, or of the boot before."""
    zone = console(numbers(3000 if lap == 'ring' else 700))
    if lap == 'boot':
        zone.zap()
        for n in range(300):
            zone.write(line(n, 0.0007, 'another boot says %d').encode() +
                       b'\n')
    last = line(3100, text=text + ' %d')
    zone.write(last.encode() + b'\n', copied)
    return zone, last


@case
def stopped_while_writing():
    """What is shown without a doubt was written whole, wherever it stopped;
    and the line before the unfinished one is shown so."""
    for lap in ('ring', 'boot', 'first'):
        for copied in range(len(line(3100, text='the last words of this '
                                     'kernel %d')) + 1):
            zone, last = stopped(copied, lap)
            if lap == 'first':
                zone = console(numbers(20))
                zone.write(last.encode() + b'\n', copied)
            e = ring(objects(save(area(*empty_dumps(2), zone))), 1)
            newest = 1 if lap != 'boot' else max(x['boot'] for x in e)
            sure = [text for text, x in zip(shown(e), e)
                    if not x.get('doubt') and (lap != 'boot' or
                                               x['boot'] == newest)]
            true = numbers(3000) if lap == 'ring' else numbers(20) \
                if lap == 'first' else [line(n, 0.0007, 'another boot says %d')
                                        for n in range(300)]
            same(sure, true[-len(sure):])
            assert len(sure) >= (19 if lap == 'first' else 299), \
                (lap, copied, len(sure))
            if copied > 40:
                # What there is of the last line is shown, too.
                assert any(last[16:copied - 2] in x['text'] for x in e), \
                    (lap, copied, e[-3:])


@case
def finished_lines_are_sure():
    """Only where the older text goes on with a line is the last in doubt."""
    marked = 0
    for n in range(2000, 2120):
        said = [line(i, text='%d' + 'x' * (i * 7 % 31)) for i in range(n)]
        e = ring(objects(save(area(*empty_dumps(2), console(said)))), 1)
        same(shown(e)[1:], said[-len(e) + 1:])
        assert not any(doubts(e)[1:-1])
        marked += doubts(e)[-1] == 'stale'
    print('%d of 120 last lines marked' % marked)
    assert marked < 12, marked


@case
def a_line_is_never_whole_by_chance():
    """Lines of one length in a ring of a multiple of it: an unfinished one
    ends with the old line's end, and looks whole."""
    length = 76             # the room is 76 * 431
    assert (CONSOLE - HEADER) % length == 0
    said = []
    for n in range(900):
        text = '[%12.6f] %d ' % (5 + n / 1000, n)
        said.append(text + 'y' * (length - 1 - len(text)))
    for copied in (1, 15, 20, 30, 60, 75):
        zone = console(said)
        zone.write(b'[   9.500000] new ' + b'z' * 57 + b'\n', copied)
        e = ring(objects(save(area(*empty_dumps(2), zone))), 1)
        sure = [x for x, d in zip(shown(e), doubts(e)) if not d]
        # The one before may end with half an old line, for all one knows.
        true = said if sure[-1] == said[-1] else said[:-1]
        same(sure, true[-len(sure):])
        assert len(sure) >= (CONSOLE - HEADER) // length - 3


@case
def with_ecc_the_header_tells():
    """The parity of the header is written last: a pointer past what was
    copied is put back, and all before it is sure."""
    said = numbers(3000)
    for copied in (0, 1, 20, 44):
        zone = console(said, parity=16)
        before = zone.bytes()
        header = before[-16:]
        zone.write(line(3100).encode() + b'\n', copied)
        after = bytearray(zone.bytes())
        # Parities of blocks and header are still those of before.
        data = HEADER + zone.room
        after[data:] = before[data:]
        same(bytes(after[-16:]), header)
        e = ring(objects(save(area(*empty_dumps(2, 16)) + after)), 1)
        sure = [x for x, d in zip(shown(e), doubts(e)) if not d]
        same(sure, said[-len(sure):])
        assert len(sure) > 500, len(sure)
    e = ring(objects(save(area(*empty_dumps(2, 16), console(
        said, parity=16)))), 1)
    assert not any(doubts(e)[1:])


# Boots

@case
def the_boot_before():
    """Behind the pointer of the new boot lies the end of the old one."""
    zone = console(numbers(500)).zap()
    new = [line(n, 0.0011, 'second boot %d') for n in range(100)]
    for one in new:
        zone.write(one.encode() + b'\n')
    e = objects(save(area(*empty_dumps(2), zone)))
    old = [x for x in e if x['boot'] == 1]
    same(shown(x for x in e if x['boot'] == 2), new)
    same(shown(old)[1:], numbers(500)[-len(old) + 1:])
    same(doubts(old), ['torn'] + ['stale'] * (len(old) - 1))
    assert len(old) > 300


@case
def dumps_of_three_boots():
    """Two dumps of one boot, one of each of the others, in any place."""
    first, second = numbers(50), [line(n, 0.01, 'two %d') for n in range(80)]
    third = [line(n, 0.02, 'three %d') for n in range(60)]
    zones = [dump(RECORD, 5000 + 5.8, second[40:]),
             dump(RECORD, 1000 + 5.05, first, reason='Oops'),
             dump(RECORD, 5000 + 5.4, second[:41], reason='Oops'),
             dump(RECORD, 9000 + 6.2, third, packed=True),
             console(third + [line(2000, 0.02, 'after the oops %d')])]
    e = objects(save(area(*zones)))
    by_boot = [[x for x in e if x['boot'] == n] for n in (1, 2, 3)]
    same(shown(by_boot[0]), first)
    same(shown(by_boot[1]), second)
    same(shown(by_boot[2]), third + [line(2000, 0.02, 'after the oops %d')])
    assert not any(doubts(e))
    r = read('--list-boots', '-o', 'json', save(area(*zones)))
    assert '"panic"' in r.out and '"oops"' in r.out, r.out


@case
def a_console_that_goes_on_behind_a_dump():
    """An oops does not end a boot, a panic does."""
    said = numbers(3000)
    for reason, boots in (('Oops', {1}), ('Panic', {1, 2})):
        zones = [dump(RECORD, 1005, said[:50], reason=reason), Zone(RECORD),
                 console(said)]
        e = objects(save(area(*zones)))
        same({x['boot'] for x in e}, boots)
        same([x['boot'] for x in e], sorted(x['boot'] for x in e))
        same(len(ring(e, 0)), 50)


@case
def a_silent_kernel():
    """Two dumps of one boot, and long nothing between them."""
    said = numbers(60)
    zones = [dump(RECORD, 1005.1, said[:50]), dump(
        RECORD, 1900, said, reason='Emergency'), Zone(RECORD), Zone(CONSOLE)]
    file = save(area(*zones))
    e = objects(file)
    same(shown(e), said)
    same({x['boot'] for x in e}, {1})
    # The wall clock of the first is right: it was made at its newest line.
    assert abs(e[0]['real'] - 1005.05) < 0.1 if isinstance(
        e[0]['real'], float) else '16:45' in str(e[0]['real']), e[0]


@case
def an_erased_dump():
    """rm in /sys/fs/pstore empties the header alone."""
    said = numbers(30)
    zones = [dump(RECORD, 1005, said).zap(), Zone(RECORD), Zone(RECORD),
             console(numbers(5, 10000))]
    e = ring(objects(save(area(*zones))), 0)
    same((shown(e), set(doubts(e))), (said, {'stale'}))


# Damage

@case
def corrected():
    zones, said = everything(16)
    data = bytearray(area(*zones))
    rand = random.Random(2)
    hit = 0
    for at in range(0, 4 * RECORD + CONSOLE, RECORD):
        zone = zones[min(at // RECORD, 4)]
        if at > 4 * RECORD or not zone.fill:
            continue
        for block in range(-(-zone.fill // 128)):
            for byte in rand.sample(range(128), 8):
                if block * 128 + byte < zone.room:
                    data[at + HEADER + block * 128 + byte] ^= rand.randint(
                        1, 255)
                    hit += 1
        for byte in rand.sample(range(HEADER), 8):
            data[at + byte] ^= rand.randint(1, 255)
            hit += 1
    file = save(data)
    check_everything(objects(file), said)
    same(facts(file)['corrected'], '%d bytes' % hit)
    same(facts(file)['uncorrectable'], '0 blocks')


@case
def one_damaged_page():
    """Everything else is still read, and what the page had is marked."""
    for parity in (0, 16):
        zones, said = everything(parity)
        data = area(*zones)
        rand = random.Random(3)
        for page in range(0, len(data), 4096):
            hurt = data[:page] + rand.randbytes(4096) + data[page + 4096:]
            e = objects('--source', 'ramoops,record-size=16K,console-size=32K,'
                        'ftrace-size=8K,pmsg-size=8K,cpus=2,ecc=%d' % parity,
                        save(hurt))
            # What comes from zones that lie elsewhere, has no doubt.
            at = 4 * RECORD
            if not at <= page < at + CONSOLE:
                same([x for x, d in zip(shown(ring(e, 1)), doubts(
                    ring(e, 1))) if not d][:100], said)
            else:
                kept = set(shown(e)) & set(said)
                assert len(kept) >= 100 - 4096 // 50 - 2, len(kept)
            if page < at + CONSOLE + FTRACE:
                same([x['text'] for x in ring(e, 2) if not x.get('doubt')],
                     ['first message', 'second message'])


@case
def headers_lost_and_flipped():
    said = numbers(3000)
    zones = [dump(RECORD, 1000008, said[2800:]), *empty_dumps(3),
             console(said), Zone(PMSG).write(b'a message of user space\n')]
    whole = objects(save(area(*zones)))
    want = shown(ring(whole, 1))[1:]
    at = 4 * RECORD
    for what, change in (
            ('lost', bytes(12)),
            ('noise', b'\x17\x99\xfa\x03' * 3),
            ('signature', struct.pack('<I', SIG ^ 1 << 30) +
             zones[4].header()[4:]),
            ('start', zones[4].header()[:4] + struct.pack(
                '<I', zones[4].start ^ 1 << 14) + zones[4].header()[8:]),
            ('size', zones[4].header()[:8] + struct.pack(
                '<I', zones[4].fill ^ 1 << 13))):
        data = bytearray(area(*zones))
        data[at:at + 12] = change
        for options in ((), ('--source', 'ramoops,record-size=16K,'
                             'console-size=32K,ftrace-size=0,pmsg-size=8K')):
            e = objects(*options, save(data))
            got = [x for x in shown(e) if 'line number' in x]
            missing = [x for x in want if x not in got]
            assert len(missing) <= 1, (what, len(missing), missing[:3])
            order = [x for x in got if x in set(want)]
            assert order == sorted(set(order)), (what, options, [
                x for n, x in enumerate(order) if x in order[:n]][:3])
            salvaged = [x for x in e if x.get('doubt') == 'salvaged']
            # Those that the dump has, too, are sure.
            assert len(salvaged) >= len(want) - 201, (
                what, options, len(salvaged))
            assert 'a message of user space' in [x['text'] for x in e], what


@case
def a_lost_header_of_a_dump():
    said = [numbers(40, n) for n in (0, 5000, 9000)]
    zones = [dump(RECORD, 1000 * n, said[n - 1]) for n in (1, 2, 3)]
    zones.append(Zone(RECORD))
    for n in range(3):
        data = bytearray(area(*zones))
        data[n * RECORD:n * RECORD + 12] = bytes(12)
        e = objects(save(data))
        same(sorted(shown(e)), sorted(sum(said, [])))
        same({x for x, d in zip(shown(e), doubts(e)) if d == 'salvaged'},
             set(said[n]))
        if n:
            same(facts(save(data))['lost headers'],
                 '1: at 0x%x' % (n * RECORD))


@case
def with_ecc_a_lost_header_comes_back():
    """12 bytes of which 8 can be wrong; the zone behind it is found by it."""
    zones, said = everything(16)
    data = bytearray(area(*zones))
    for at in (0, RECORD, 4 * RECORD):
        data[at:at + 4] = bytes(4)
        data[at + 8] ^= 0xff
    check_everything(objects(save(data)), said)


@case
def calls_of_two_boots_and_a_full_ring():
    """ftrace's zones are not emptied at boot; the stamp begins anew."""
    zone = calls(0, 500)            # of 42 that the zone can hold
    e = ring(objects(save(area(*empty_dumps(2), zone, calls(1, 0)))), 3)
    same([x['text'] for x in e],
         ['cpu:0 %x <- %x' % (KERNEL + 16 * n, KERNEL + 0x1000)
          for n in range(500 - len(e), 500)])
    assert len(e) == (FTRACE // 2 - HEADER) // 24, len(e)
    zone = calls(0, 30, first=100)
    for n in range(5):
        zone.write(call(KERNEL + 0x100000 + n, KERNEL, n, 0))
    e = ring(objects(save(area(*empty_dumps(2), zone))), 3)
    same([x['boot'] for x in e], [1] * 30 + [2] * 5)


@case
def pmsg_in_a_ring():
    zone = Zone(PMSG)
    for n in range(1000):
        zone.write(b'message %d of user space\n' % n)
    e = ring(objects(save(area(*empty_dumps(2), console(numbers(9)), zone))),
             2)
    same([x['text'] for x in e[1:]],
         ['message %d of user space' % n for n in range(1001 - len(e), 1000)])
    same(e[0].get('doubt'), 'torn')


@case
def a_kernel_without_times():
    """printk.time=0: what can be wrong is marked, not more."""
    zone = Zone(CONSOLE)
    for n in range(2000):
        zone.write(b'line %d of a kernel that tells no time\n' % n)
    e = ring(objects(save(area(*empty_dumps(2), zone, Zone(PMSG)))), 1)
    same([x['text'] for x in e[1:]],
         ['line %d of a kernel that tells no time' % n
          for n in range(2001 - len(e), 2000)])
    same(doubts(e), ['torn'] + [None] * (len(e) - 2) + ['stale'])
    assert room(CONSOLE) > 30000


@case
def parity_that_looks_like_a_header():
    """The parity of a dump's last block ends with what could be the signature
    of ftrace's zones in some kernel, and zeros are behind it."""
    lines = numbers(100) + ['[    5.200000] number %05d' % LOOKS_LIKE]
    full = dump(RECORD, 1000, lines, 16)
    last = full.fill // 128 * 128
    sig, = struct.unpack('<I', parity_of(
        bytes(full.data[last:last + 128]), 16)[-4:])
    assert 0x030000 <= sig ^ SIG < 0x200000, hex(sig)
    path = save(area(full, *empty_dumps(3, 16), Zone(CONSOLE, 16),
                     calls(0, 20, parity=16), calls(1, 20, parity=16)))
    found = objects('-q', path)
    same(shown(ring(found, 0)), lines)
    same(len(ring(found, 3)), 40)
    same(set(doubts(found)), {None})


if __name__ == '__main__':
    main()
