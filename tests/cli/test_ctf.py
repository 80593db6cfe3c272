#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""dlog-read -o ctf: what babeltrace2 reads is what dlog-read -o json says."""

import os
import struct
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from babeltrace import events, same_records, string  # noqa: E402
from cli import case, objects, path, read, region, same  # noqa: E402
from lib.case import main  # noqa: E402

T0 = 1700000000

TWO_BOOTS = '''
size 1048576
label guest-1
boot 6.1.0-56-amd64 %d000000000
clock 0 %d000000000
printk 6 T0 0 Linux version
printk 3 T1 1500000000 disk: error
ring 1
printk 30 C1 1000000000 systemd[1]: up
text 4 2000000000 own warning
state 3 2200000000 it hurts
note 2300000000
stack 1 3 2400000000 foo+0x1\\nbar
status 2 2000000000
boot 6.12.0 %d000000123
ring 0
printk 5 - 5000000 second notice
printk 7 T9 1000000000 second debug
state 4 9000000000 Fatal exception
status 4 9000000000
''' % (T0, T0, T0 + 100)


def export(*files, args=()):
    out = path('ctf')
    r = read('-o', 'ctf', '--force', '-w', out, *args, *files)
    same((r.code, r.out, r.err), (0, '', ''))
    return events(out)


def compare(*files, args=()):
    got, lost = export(*files, args=args)
    same_records(got, objects(*args, *files))
    return got, lost


@case
def every_record():
    got, lost = compare(region(TWO_BOOTS))
    same(lost, [])
    same([e.name for e in got], [
        'printk', 'printk', 'printk', 'text', 'state', 'boot', 'stack',
        'printk', 'printk', 'state'])
    # from the script, without JSON
    same([e.real - T0 * 10**9 for e in got], [
        0, 1000000000, 1500000000, 2000000000, 2200000000, 2300000000,
        2400000000, 100005000123, 101000000123, 109000000123])
    same({e.trace for e in got}, {'guest-1'})
    same(got[2].fields, {'facility': 0, 'caller': 'T1', 'doubt': ' ',
                         'text': 'disk: error', 'raw_length': 0, 'raw': []})
    same((got[4].fields['name'], got[4].fields['text']), ('oops', 'it hurts'))
    same(got[1].packet['cpu_id'], 1)


@case
def only_some():
    g = region(TWO_BOOTS)
    for args in (('-b', '1'), ('-l', 'err+'), ('-n', '3'), ('-k',),
                 ('-g', 'second')):
        assert compare(g, args=args)[0]


@case
def many_packets():
    """More than a packet holds, in each of two rings, over laps."""
    g = region('size 1048576\nrings 2\nboot x %d000000000\n' % T0 +
               'fill 6000 6 0 %s\nring 1\nfill 15000 4 500 x\n'
               % ('long line ' * 8))
    got, lost = compare(g)
    assert len(got) < 21000
    same([e.context['time'] for e in got],
         sorted(e.context['time'] for e in got))
    # what a lap took is said once: before the first record
    same(len(lost), 1)
    assert 'discarded %d events' % (21000 - len(got)) in lost[0], lost


@case
def every_loss():
    got, lost = compare(region(
        'boot x\ntext 6 1000 good\ntorn 2000 half\ntext 6 3000 good\n'
        'text 6 4000 damaged\ntext 6 5000 good\nsmash 3\n'))
    same(len(got), 3)
    same(len(lost), 1)
    assert 'discarded 2 events' in lost[0], lost


@case
def any_bytes():
    every = [bytes([c]) for c in range(256)]
    every += [b'\xc0\x80', b'\xed\xa0\x80', b'\xf4\x90\x80\x80', b'\xc3',
              b'a\xffb\0c', b'\xc3\xa9\xe4\xb8\xad\xf0\x9f\x98\x80',
              b'"; };\n event { name = "x"; };', b'\\"\\n', b'']
    got, _ = compare(region('boot x\n' + ''.join(
        'text 6 %d %s\n' % (i, ''.join('\\x%02x' % c for c in b))
        for i, b in enumerate(every))))
    same(len(got), len(every))
    for e, b in zip(got, every):
        try:
            text = b.decode()
            same((e.fields['text'], bytes(e.fields['raw'])),
                 (string(text), b if b'\0' in b else b''))
        except UnicodeDecodeError:
            same(bytes(e.fields['raw']), b)


@case
def names_that_would_end_a_string():
    g = region('label "; }; \\x1b]0;x\\x07 \\\\\nboot rel";};\\\n'
               'text 6 1 a\nevent a"b};,{/*c x8,d 3 01\n')
    got, _ = export(g)
    same(len(got), 2)
    with open(os.path.join(path('ctf'), 'boot-1', 'metadata'), 'rb') as f:
        assert all(c in b'\n\t' or 0x20 <= c < 0x7f for c in f.read())


FIELDS = ('u8,a;u16,b;u32,c;u64,d;s8,e;s16,f;s32,g;s64,h;x8,i;x64,j;'
          'char,name[8];str,what;bytes,blob;u8,last')


@case
def fields_of_events():
    data = struct.pack('<BHIQbhiqBQ8sH5sH3sB', 200, 60000, 4000000000,
                       2**64 - 1, -100, -30000, -2000000000, -2**63, 0xab,
                       0xffffffff81000000, b'comm\0\0\0\0', 5,
                       b'a"\\\nb', 3, b'\0\xff\x01', 7)
    got, _ = export(region('boot x\nevent drv:my_event %s 5 %s\n'
                           % (FIELDS, data.hex())))
    same([e.name for e in got], ['drv:my_event'])
    same(got[0].fields, {
        'a': 200, 'b': 60000, 'c': 4000000000, 'd': 2**64 - 1, 'e': -100,
        'f': -30000, 'g': -2000000000, 'h': -2**63, 'i': 0xab,
        'j': 0xffffffff81000000, 'name': 'comm', 'what': 'a"\\\nb',
        'blob_length': 3, 'blob': [0, 255, 1], 'last': 7})
    # base 16 where the type says so
    with open(os.path.join(path('ctf'), 'boot-1', 'metadata')) as f:
        tsdl = f.read()
    for line in ('u8 _a;', 's64 _h;', 'x64 _j;', 'string _what;',
                 'x8 _blob[_blob_length];'):
        assert line in tsdl, line


@case
def events_that_do_not_hold_their_fields():
    g = region('boot x\nevent e u32,a;str,b 1 010000000100\n'
               'event e u32,a;str,b 2 01000000010041\n'
               'event e u32,a;str,b 3 01\nevent none - 4 0102\n')
    got, _ = compare(g)
    same([(e.name, e.fields.get('b'), e.fields.get('data')) for e in got], [
        ('event', None, [1, 0, 0, 0, 1, 0]), ('e', 'A', None),
        ('event', None, [1]), ('event', None, [1, 2])])
    same({e.fields['name'] for e in got if e.name == 'event'},
         {'e', 'none'})


@case
def event_without_a_type():
    """The catalog was lost: mkregion's lies behind the registers."""
    g = region('boot x\nevent lost u32,a 1 01000000\n')
    sb = open(g, 'rb').read(4096)
    at = int.from_bytes(sb[160:168], 'little')
    with open(g, 'r+b') as f:
        f.seek(at)
        f.write(bytes(64))
    got, _ = compare(g)
    same([(e.name, e.fields['name'], e.fields['data']) for e in got],
         [('event', ' ', [1, 0, 0, 0])])


@case
def names_of_fields():
    """Keywords, the same twice, what looks like a sequence's length."""
    names = ('event', 'struct', 'a', 'a', 'b_length', '_x', '1', 'integer')
    fields = ''.join('u8,%s;' % n for n in names) + 'bytes,b;u8,trace'
    got, _ = export(region('boot x\nevent stream %s 1 '
                           '0102030405060708010009ff\n' % fields))
    same(len(got), 1)
    same(got[0].name, 'stream')
    f = got[0].fields
    same((f['event'], f['struct'], f['a'], f['_x'], f['1'], f['integer'],
          f['b'], f['trace']), (1, 2, 3, 6, 7, 8, [9], 255))
    same(sorted(v for v in f.values() if isinstance(v, int)),
         [1, 1, 2, 3, 4, 5, 6, 7, 8, 255])


@case
def names_that_meet():
    """Names that look like what the same name twice is given."""
    for fields, data in (
            ('u8,a;u8,a__2;u8,a', '010203'),
            ('u8,a__2_length;u8,a;bytes,a', '0102010009'),
            ('u8,x__0;u8,x__0__0;u8,x__0;u8,x__1', '01020304')):
        got, _ = export(region('boot x\nevent e %s 1 %s\n' % (fields, data)))
        same([e.name for e in got], ['e'])
        same(len(got[0].fields), fields.count(';') + 1 + ('bytes' in fields))


@case
def times_that_go_back():
    """Time stamps do not; the record's own time stands beside."""
    times = [5000, 4000, 6000, 2**64 - 1, 7000, 2**63, 1]
    script = 'rings 1\nboot x %d000000000\nclock 0 %d000000000\n' % (T0, T0)
    script += ''.join('text 6 %d %d\n' % (t, t) for t in times)
    # far enough apart that the reader does not put them in order
    script += 'fill 200 6 1000000 x\ntext 6 3000 late\n'
    got, _ = export(region(script))
    same(len(got), len(times) + 201)
    for e in got:
        if e.fields['text'].isdigit():
            same(e.context['time'], int(e.fields['text']))
    same([e.context['time'] for e in got
          if e.fields['text'] == 'late'], [3000])
    same([e.real for e in got], sorted(e.real for e in got))


@case
def no_wall_clock():
    """Beside a boot that has one: in 1970."""
    g = region('boot x\ntext 6 1500000000 a\nboot y %d000000000\n'
               'text 6 2000000000 b\n' % T0)
    got, _ = compare(g)
    same([(e.boot, e.real) for e in got],
         [(1, 1500000000), (2, (T0 + 2) * 10**9)])
    # a guest's wall clock that no clock can show
    got, _ = export(region('boot x %d\ntext 6 1 a\n' % (2**64 - 5)))
    same([e.real for e in got], [1])


@case
def several_files():
    a = region('label one\nboot x %d000000000\ntext 6 1 a\ntext 6 9 c\n' % T0,
               'a.img')
    # a copy, also of the UUID
    b = region('boot x %d000000000\ntext 6 5 b\n' % T0, 'b.img')
    got, _ = export(a, b)
    same([(e.trace, e.fields['text']) for e in got],
         [('one', 'a'), ('b.img', 'b'), ('one', 'c')])


@case
def nothing_to_say():
    out = path('ctf')
    for script in ('', 'boot x\n'):
        r = read('-q', '-o', 'ctf', '--force', '-w', out, region(script))
        same((r.code, os.listdir(out)), (0, []))


if __name__ == '__main__':
    main()
