#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""dlog-read: which records it shows, what it says about files."""

import json
import os
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from cli import (READ, case, fails, lines, objects, path, read,  # noqa: E402
                 region, run, same, texts)
from lib.case import main, skip  # noqa: E402

# 1700000000 s is 2023-11-14 22:13:20 UTC.
T0 = 1700000000

TWO_BOOTS = '''
label guest-1
boot 6.1.0-56-amd64 %d000000000
clock 0 %d000000000
printk 6 T0 0 Linux version
printk 3 T1 1500000000 disk: error
ring 1
printk 30 C1 1000000000 systemd[1]: up
text 4 2000000000 own warning
status 2 2000000000
boot 6.12.0 %d000000000
printk 5 T9 5000000 second notice
printk 7 T9 1000000000 second debug
state 4 9000000000 Fatal exception
''' % (T0, T0, T0 + 100)


@case
def all_boots_in_order():
    same(lines('--utc', region(TWO_BOOTS)), [
        '-- boot 1: 6.1.0-56-amd64, started 2023-11-14 22:13:20 UTC --',
        '[    0.000000] Linux version',
        '[    1.000000] systemd[1]: up',
        '[    1.500000] disk: error',
        '[    2.000000] own warning',
        '-- boot 2: 6.12.0, started 2023-11-14 22:15:00 UTC, '
        'the one before ended: cut off while running --',
        '[    0.005000] second notice',
        '[    1.000000] second debug',
        '[    9.000000] state: panic: Fatal exception'])
    assert not any(line.startswith('--')
                   for line in lines('-q', path('guest.img')))


@case
def one_boot():
    g = region(TWO_BOOTS)
    first = ['Linux version', 'systemd[1]: up', 'disk: error', 'own warning']
    second = ['second notice', 'second debug',
              'state: panic: Fatal exception']
    for args in (['-b', '1'], ['-b1'], ['-b', '-1'], ['--boot=-1'],
                 ['--boot', '1']):
        same(texts(*args, g), first)
    for args in (['-b', '2'], ['-b'], ['-b', '0'], ['--boot'], ['-b0']):
        same(texts(*args, g), second)
    same(texts('-b', 'all', g), first + second)
    same(lines('-b', '2', g)[0], '[    0.005000] second notice')
    for n in ('3', '-2', '77'):
        fails(read('-b', n, g), 2, g, 'no boot ' + n)
    for n in ('-bx', '-b1x', '--boot='):
        fails(read(n, g), 2, 'boot')


@case
def last_lines():
    g = region(TWO_BOOTS)
    want = texts(g)
    for n in (0, 1, 2, 3, 5, 6, 7, 100):
        same(texts('-n', str(n), g), want[len(want) - min(n, 7):])
    same(texts('-n', 'all', g), want)
    same(texts('-n', '1', '-b', '1', g), ['own warning'])
    same(texts('-n', '2', '-l', 'err+', '-b1', g), ['disk: error'])
    for n in ('x', '-1', '1x', ''):
        fails(read('-n', n, g), 2, 'lines')


@case
def many_last_lines():
    g = region('boot x\nfill 5000 6 0 line\n')
    all_lines = texts(g)
    same(all_lines, ['line%d' % i for i in range(5000)])
    for n in (1, 15, 16, 17, 4999, 5000):
        same(texts('-n', str(n), g), all_lines[-n:])


@case
def last_lines_of_many():
    """Not all of the file is read for them: they are the same lines."""
    script = 'size 4194304\nrings 2\n'
    for boot in range(3):
        script += 'boot x%d\n' % boot
        for i in range(6):
            script += ('ring %d\nfill 2000 6 %d line%d-%d-\n'
                       'printk %d T1 %d rare %d\n' % (
                           i % 2, i * 1000000, boot, i, i % 4,
                           i * 1000000 + 5000000, i))
    g = region(script)
    for args in ((), ('-b',), ('-b', '-1'), ('-b', '1'), ('-l', 'err+'),
                 ('-l', 'emerg'), ('-g', 'line0-1-5$'), ('-g', 'no such'),
                 ('-c', '1'), ('-k', '-b', '-1'), ('-g', '-3-.*99')):
        want = texts(*args, g)
        for n in (1, 2, 7, 50, 300, 1000, 3000, 40000):
            same(texts('-n', str(n), *args, g), want[-n:])
    same(len(texts(g)), 3 * 6 * 2001)
    # and what the lines are, with the header of their boot
    same(lines('-n', '1', g), ['-- boot 3: x2, the one before ended: cut off '
                               'while booting --', lines(g)[-1]])


@case
def levels():
    g = region('boot x\n' + ''.join('text %d %d l%d\n' % (i, i, i)
                                    for i in range(8)))
    for arg, want in (('err', '3'), ('3', '3'), ('err,debug', '37'),
                      ('err+', '0123'), ('+err', '34567'),
                      ('crit..notice', '2345'), ('notice..2', '2345'),
                      ('emerg', '0'), ('warning', '4'), ('0..7', '01234567'),
                      ('emerg,info+', '0123456')):
        same(texts('-l', arg, g), ['l' + c for c in want])
    for arg in ('', 'foo', 'err,', '8', '-1', 'err..', '+', 'e', 'err++'):
        fails(read('-l', arg, g), 2, 'level', '--help')


@case
def facilities_types_cpus():
    g = region(TWO_BOOTS)
    same(texts('--facility', 'daemon', g), ['systemd[1]: up'])
    same(texts('--facility', '3,kern', '-b1', g),
         ['Linux version', 'systemd[1]: up', 'disk: error', 'own warning'])
    same(texts('-k', '-b', g), ['second notice', 'second debug'])
    same(texts('-t', 'state', g), ['state: panic: Fatal exception'])
    same(texts('-t', 'text,state', g),
         ['own warning', 'state: panic: Fatal exception'])
    same(texts('-c', '1', g), ['systemd[1]: up', 'own warning'])
    same(texts('-c', '0', '-b1', g), ['Linux version', 'disk: error'])
    # two rings: CPU 3 writes to ring 1, as the driver deals them out
    same(texts('-c', '3-3', g), ['systemd[1]: up', 'own warning'])
    same(len(texts('-c', '0,1', g)), 7)
    for opt, arg in (('-t', 'foo'), ('-t', '3'), ('--facility', '24'),
                     ('-c', '1-'), ('-c', ''), ('-c', '3-1'), ('-c', '5000')):
        fails(read(opt, arg, g), 2, "'%s'" % arg)


@case
def heartbeat_says_which_ring():
    g = region('boot x\nring 0\ntext 6 1 zero\nring 1\ntext 6 2 one\n'
               'beat 2 1 5 1\n')
    same(texts('-c', '2', g), ['one'])


@case
def grep():
    g = region(TWO_BOOTS)
    same(texts('-g', 'disk|debug', g), ['disk: error', 'second debug'])
    same(texts('-g', 'd[1]', g), [])
    same(texts('-g', r'd\[1\]', g), ['systemd[1]: up'])
    same(texts('-g', 'LINUX', g), [])
    same(texts('-i', '-g', 'LINUX', g), ['Linux version'])
    same(texts('-g', 'Fatal', g), ['state: panic: Fatal exception'])
    same(texts('-g', '^second', '-n1', g), ['second debug'])
    fails(read('-g', '(', g), 2, 'regular expression')
    fails(read('-i', g), 2, '-g')


@case
def grep_behind_nul():
    g = region('boot x\ntext 6 1 a\\x00needle\n')
    for pattern in ('needle', 'n.edle', '^a'):
        same(len(texts('-g', pattern, g)), 1)


@case
def guest_seconds():
    g = region(TWO_BOOTS)
    same(texts('-S', '1', '-U', '1.5', g),
         ['systemd[1]: up', 'disk: error', 'second debug'])
    same(texts('-S', '1.500000001', '-b1', g), ['own warning'])
    same(texts('-U', '0', g), ['Linux version'])


@case
def wall_clock():
    g = region(TWO_BOOTS)
    same(texts('-S', '2023-11-14 22:13:21.5Z', '-U', '2023-11-14T22:15:00Z',
               g), ['disk: error', 'own warning'])
    same(texts('-S', '2023-11-15 00:13:21.5+02:00', '-b1', g),
         ['disk: error', 'own warning'])
    same(texts('--since', '@%d' % (T0 + 101), g),
         ['second debug', 'state: panic: Fatal exception'])
    same(texts('-U', '2023-11-14', g), [])
    same(len(texts('-S', '2023-11-14', '--utc', g)), 7)
    same(texts('-S', 'yesterday', g), [])
    # local time where no zone is named
    r = run(READ, '-o', 'cat', '-S', '2023-11-14 17:15:01', g,
            env={'TZ': 'EST5'})
    same(r.lines, ['second debug', 'state: panic: Fatal exception'])
    for arg in ('', 'x', '2023-13-01', '12:61', '2023-11-14 1',
                '-', '-5x', '1.', '2023-11-14 10:00 +99:00', '12.5s'):
        fails(read('-S', arg, g), 2, "'%s' is no time" % arg)


@case
def before_the_end():
    g = region(TWO_BOOTS)
    same(texts('-S', '-8s', g),
         ['second debug', 'state: panic: Fatal exception'])
    same(texts('-S', '-1h', g)[0], 'second notice')
    same(texts('-S', '-1', '-b1', g),
         ['systemd[1]: up', 'disk: error', 'own warning'])
    same(texts('-U', '-8s', g)[-1], 'second debug')
    same(texts('-S', '-500ms', '-b', '1', g), ['disk: error', 'own warning'])


@case
def no_wall_clock():
    g = region('boot x\ntext 6 1 a\ntext 6 2 b\n')
    r = read('-S', '2020-01-01', g)
    same((r.code, r.out), (0, ''))
    assert '2 records left out' in r.err
    same(lines('-o', 'wall', g), ['[    0.000000] a', '[    0.000000] b'])


@case
def formats():
    g = region('boot x 1700000000000000000\nclock 0 1700000000000000000\n'
               'printk 6 T1 1234567890 a\\x1bb\\nc\n')
    same(lines(g), ['[    1.234567] a\\x1bb', '               c'])
    same(lines('-o', 'wall', '--utc', g),
         ['2023-11-14T22:13:21.234567+00:00 a\\x1bb', ' ' * 33 + 'c'])
    same(run(READ, '-o', 'wall', g, env={'TZ': 'XST-5:30'}).lines[0],
         '2023-11-15T03:43:21.234567+05:30 a\\x1bb')
    same(lines('-T', '--utc', g)[0], '[Tue Nov 14 22:13:21 2023] a\\x1bb')
    same(read('-o', 'raw', g).raw, b'a\x1bb\nc\n')
    same(lines('-o', 'cat', g), ['a\\x1bb', 'c'])
    fails(read('-o', 'xml', g), 2, 'xml', 'json')


@case
def terminal_is_safe():
    bad = [c for c in range(256) if c not in (9, 10)]
    g = region('boot x\n' + ''.join('text 6 %d <\\x%02x>\n' % (i, c)
                                    for i, c in enumerate(bad)))
    got = read('-o', 'cat', g).raw
    assert all(c >= 0x20 or c == 10 for c in got) and 0x7f not in got
    want = ['<%c>' % c if 0x20 <= c < 0x7f else '<\\x%02x>' % c for c in bad]
    same(got.decode('ascii').splitlines(), want)
    # C1 controls as UTF-8, and text that is fine
    g = region('boot x\ntext 6 1 \u009b31m \u00e9 \u4e2d \t.\n')
    same(texts(g), ['\\xc2\\x9b31m \u00e9 \u4e2d \t.'])
    # a locale that has no such characters
    same(run(READ, '-o', 'cat', g, env={'LC_ALL': 'C'}).out,
         '\\xc2\\x9b31m \\xc3\\xa9 \\xe4\\xb8\\xad \t.\n')
    # a forged line of the log stays an indented one
    g = region('boot x\ntext 6 0 a\\n[    9.000000] forged\\n\n')
    same(lines(g), ['[    0.000000] a', ' ' * 15 + '[    9.000000] forged'])


@case
def hostile_names():
    g = region('label \\x1b]0;x\\x07\nboot rel\\x1b[2J\ntext 6 0 a\n'
               'boot two\ntext 6 0 b\n')
    for args in ([g], [g, g], ['--stats', g], ['--list-boots', g],
                 ['--check', g]):
        assert b'\x1b' not in read(*args).raw


@case
def json_lines():
    g = region(TWO_BOOTS)
    got = objects(g)
    same(len(got), 7)
    same(got[2], {
        'file': g, 'label': 'guest-1', 'boot': 1, 'ring': 0,
        'position': got[2]['position'], 'time': 1.5,
        'real': '2023-11-14T22:13:21.500000000Z', 'kind': 'printk',
        'level': 3, 'facility': 0, 'caller': 'T1', 'text': 'disk: error'})
    same([(o['caller'], o['facility']) for o in got[:2]],
         [('T0', 0), ('C1', 3)])
    same(got[3]['caller'], None)
    same((got[6]['kind'], got[6]['text'], bytes.fromhex(got[6]['hex'])),
         ('state', 'state: panic: Fatal exception', b'Fatal exception'))


@case
def json_takes_any_bytes():
    every = [bytes([c]) for c in range(256)]
    every += [b'\xc0\x80', b'\xe0\x80\x80', b'\xed\xa0\x80',
              b'\xf4\x90\x80\x80', b'\xf8\x88\x80\x80\x80', b'\xc3',
              b'\xe4\xb8', b'a\xffb', 'é中\U0001f600'.encode(), b'"\\/', b'']
    g = region('boot x\n' + ''.join(
        'text 6 %d %s\n' % (i, ''.join('\\x%02x' % c for c in b))
        for i, b in enumerate(every)))
    r = read('-o', 'json', g)
    r.raw.decode('utf-8')       # valid as a whole
    got = [json.loads(line) for line in r.raw.split(b'\n')[:-1]]
    same(len(got), len(every))
    for o, b in zip(got, every):
        try:
            want = b.decode('utf-8')
            assert 'hex' not in o
        except UnicodeDecodeError:
            want = o['text']
            assert '\ufffd' in want
            same(bytes.fromhex(o['hex']), b)
        same(o['text'], want)
    try:
        out = subprocess.run(['jq', '-c', '.text|length'], input=r.raw,
                             stdout=subprocess.PIPE)
    except FileNotFoundError:
        skip('jq is not installed')
    same(out.returncode, 0)
    same(len(out.stdout.split()), len(every))


@case
def several_files():
    a = region('label one\nboot x 1700000000000000000\n'
               'clock 0 1700000000000000000\ntext 6 1000000000 a1\n'
               'text 6 3000000000 a\\n3\n', 'a.img')
    b = region('label two\nuuid 00112233445566778899aabbccddeeff\n'
               'boot y 1700000001000000000\nclock 0 1700000001000000000\n'
               'text 6 1000000000 b2\n', 'b.img')
    same(lines(a, b), ['one: [    1.000000] a1', 'two: [    1.000000] b2',
                       'one: [    3.000000] a', ' ' * 20 + '3'])
    same([(o['file'], o['text']) for o in objects(a, b)],
         [(a, 'a1'), (b, 'b2'), (a, 'a\n3')])
    same(lines('-n1', a, b)[0], 'one: [    3.000000] a')
    c = region('boot x\ntext 6 1 c\n', 'c.img')
    assert all(line.startswith(c + ': ') for line in lines(c, c))


@case
def list_boots():
    g = region(TWO_BOOTS)
    r = read('--list-boots', '--utc', g)
    same(r.code, 0)
    same([line.split() for line in r.lines][1:], [
        ['1', '-1', '6.1.0-56-amd64', '2023-11-14', '22:13:20', 'UTC', '[',
         '0.000000]', '[', '2.000000]', 'cut', 'off', 'while', 'running'],
        ['2', '0', '6.12.0', '2023-11-14', '22:15:00', 'UTC', '[',
         '0.005000]', '[', '9.000000]', 'panic']])
    got = [json.loads(line)
           for line in read('--list-boots', '-o', 'json', g).lines]
    same([(o['boot'], o['back'], o['release'], o['status'], o['latest'],
           o['last_time']) for o in got],
         [(1, 1, '6.1.0-56-amd64', 'running', False, 2),
          (2, 0, '6.12.0', 'panic', True, 9)])
    same({o['kernel_text'] for o in got}, {'0xffffffff81000000'})


LOSSES = '''
boot x
period 1000
memtype 3
text 6 1 good
torn 2 half
text 6 3 good
text 6 4 damaged
text 6 5 good
drop
smash 3
beat 0 0 6 1
status 4 7
'''


@case
def stats():
    g = region(LOSSES)
    r = read('--stats', g)
    same(r.code, 0)
    for word in ('uncached-minus', 'nvdimm', 'panic', '2 rings', '4 KiB'):
        assert word in r.out, word
    s = json.loads(read('--stats', '-o', 'json', g).out)
    same(s['memory'], 'uncached-minus')
    loss = [x for x in s['loss'] if x['ring'] == 0]
    same(len(loss), 1)
    same([loss[0][k] for k in ('records', 'written', 'overwritten', 'torn',
                               'corrupt', 'dropped')], [3, 5, 0, 1, 1, 1])
    row = next(line.split() for line in r.lines if line[:11].split()
               == ['1', '0'] and 'BOOT' not in line and '[' not in line)
    same(row[:8], ['1', '0', '3', '5', '0', '1', '1', '1'])


@case
def check():
    clean = region(TWO_BOOTS)
    r = read('--check', clean)
    same((r.code, r.err, len(r.lines)), (0, '', 1))
    assert 'clean: 7 records in 2 boots' in r.out
    # overwriting is no damage
    lapped = region('size 65536\nrings 1\ncpus 1\nboots 4\nboot x\n'
                    'fill 9000 6 0 line\n')
    r = read('--check', lapped)
    same(r.code, 0)
    assert ' 0 overwritten' not in r.out
    n = len(texts(lapped))
    assert '%d records' % n in r.out and '%d overwritten' % (9000 - n) in r.out
    r = read('--check', region(LOSSES))
    same(r.code, 1)
    assert 'boot 1, ring 0: 1 torn, 1 corrupt, 1 dropped' in r.out
    same(json.loads(read('--check', '-o', 'json',
                         path('guest.img')).out)['clean'], False)
    # the worst of several decides
    same(read('--check', region(TWO_BOOTS, 'b'), path('guest.img')).code, 1)


@case
def damaged_superblock():
    g = region(TWO_BOOTS + 'poke 0 00\n')
    r = read('-o', 'cat', g)
    same((r.code, len(r.lines)), (0, 7))
    assert g in r.err and 'superblock' in r.err
    r = read('--check', g)
    same(r.code, 1)
    assert 'superblock' in r.out


@case
def registers():
    g = region('boot x\nregs 1 4 2000000000\nboot y\nregs 0 0 3000000000\n')
    r = read('--regs', g)
    same((r.code, r.err), (0, ''))
    # word 16 of the general registers is rip (16 % 16 = 0), word 19 rsp
    assert 'rsp 4444:3333333333333333' in r.out
    assert 'cr3=00000000000000c2' in r.out and 'cpu 1 (panic)' in r.out
    got = [json.loads(x) for x in read('--regs', '-o', 'json', g).lines]
    same([(o['cpu'], o['boot'], o['reason'], o['cr0']) for o in got],
         [(0, 2, 'none', '0x00000000000000c0'),
          (1, 1, 'panic', '0x00000000000000c0')])
    same(len(got[0]['prstatus']), 672)
    same(len(read('--regs', '-b', '1', '-o', 'json', g).lines), 1)
    r = read('--regs', region('boot x\n'))
    same((r.code, r.out), (0, ''))
    assert 'no registers' in r.err


@case
def start_and_stop():
    g = region('boot x\nstatus 4 1\ntext 6 1 a\n')
    same(read('--stop', g).code, 0)
    r = read('--stats', '-o', 'json', g)
    same(json.loads(r.out)['stop_asked'], True)
    same(read('--start', g).code, 0)
    r = read('--stats', '-o', 'json', g)
    same(json.loads(r.out)['stop_asked'], False)
    same(texts(g), ['a'])
    fails(read('--start', '--stop', g), 2, 'only one')


@case
def stale_heartbeats():
    g = region('boot x\nperiod 1000\nclock 10000000000 now-60\n'
               'status 2 0\nbeat 0 0 10000000000 1\n'
               'beat 1 1 4000000000 1\nbeat 2 0 1000000000 0\n')
    r = read('--stats', g)
    same(r.code, 0)
    same([line.split()[-1] for line in r.lines
          if line.split() and line.split()[0] in '012' and '[' in line],
         ['stale', 'stale', 'offline'])
    assert 'heartbeats of all 2 CPUs' in r.err and g in r.err
    # one CPU behind the other
    g = region('boot x\nperiod 1000\nstatus 2 0\n'
               'beat 0 0 20000000000 1\nbeat 1 1 7700000000 1\n')
    r = read('--stats', g)
    assert "CPU 1's heartbeat is 12.3 s behind" in r.err, r.err
    # a guest that said how it ended does not hang
    g = region('boot x\nperiod 1000\nstatus 11 0\n'
               'beat 0 0 20000000000 1\nbeat 1 1 7700000000 1\n')
    same(read('--stats', g).err, '')


@case
def files_that_are_none():
    def make(name, data):
        with open(path(name), 'wb') as f:
            f.write(data)
        return path(name)

    good = open(region(TWO_BOOTS), 'rb').read()
    os.mkdir(path('dir'))
    newer = region('incompat 1\n', 'newer')
    cases = {
        path('missing'): 'No such file',
        make('empty', b''): 'empty',
        path('dir'): 'directory',
        make('short', good[:70000]): '70000',
        make('tiny', good[:100]): '',
        make('random', os.urandom(1 << 20)): '',
        make('zeros', bytes(1 << 20)): '',
        newer: 'newer',
    }
    for file, word in cases.items():
        before = open(file, 'rb').read() if os.path.isfile(file) else None
        for mode in ([], ['--check'], ['--stats'], ['--list-boots'],
                     ['--stop'], ['-f']):
            r = read(*mode, file)
            fails(r, 2, file, word)
            same(r.err.count('\n'), 1)
        if before is not None:
            same(open(file, 'rb').read(), before)
    # one bad file among good ones
    fails(read(path('guest.img'), path('empty')), 2, path('empty'))


@case
def nothing_is_written():
    g = region(TWO_BOOTS)
    before = open(g, 'rb').read()
    os.chmod(g, 0o400)
    for mode in ([], ['--check'], ['--stats'], ['--list-boots'], ['--regs']):
        same(read(*mode, g).code, 0)
    same(open(g, 'rb').read(), before)


@case
def no_guest_yet():
    g = region('')
    r = read(g)
    same((r.code, r.out), (0, ''))
    assert 'no guest' in r.err and g in r.err
    fails(read('-b', g), 2, 'no boot yet')
    same(read('--check', g).code, 0)
    assert 'no guest' in read('--stats', g).out


@case
def wrong_usage():
    g = region(TWO_BOOTS)
    for args in ([], ['-Z', g], ['--bogus', g], ['--stats', '--check', g],
                 ['-f', '--stats', g], ['--color=pink', g]):
        fails(read(*args), 2, '--help')
    for opt in ('-h', '--help'):
        r = read(opt)
        same((r.code, r.err), (0, ''))
        assert '--list-boots' in r.out and max(map(len, r.lines)) <= 80
    assert read('-V').out.startswith('dlog-read ')


@case
def a_part_of_a_file():
    g = region('boot x\nprintk 6 C0 1 here\n')
    with open(g, 'rb') as f:
        data = f.read()
    for before, args in ((0, ('--at', '0')), (0, ('--at', '0:%d' % len(data))),
                         (8192, ('--at', '8K')),
                         (8192, ('--at', '8192:%d' % len(data)))):
        with open(path('part'), 'wb') as f:
            f.write(b'\xff' * before + data)
        assert 'here' in read(*args, path('part')).out, args
    fails(read('--at', '1G', path('part')), 2, 'there is nothing at')
    fails(read('--at', '8K:1G', path('part')), 2, 'there are not')
    fails(read('--at', 'x', path('part')), 2, "'x'")


@case
def what_the_content_does_not_tell():
    g = region('boot x\nprintk 6 C0 1 here\n')
    assert 'here' in read('--source', 'region', g).out
    listed = read('--source', 'help').out
    for word in 'region', 'ramoops', 'ftrace', 'erst', 'ram', 'vmlinux=':
        assert word in listed, word
    fails(read('--source', 'nonsense', g), 2, 'nonsense')
    fails(read('--source', 'region,a', g), 2, 'KEY=VALUE')
    fails(read('--formats', 'x', g), 2, 'no option', 'formats')
    fails(read('--vmlinux', 'x', g), 2, 'no option', 'vmlinux')
    fails(read('--source', 'ram', g), 2, 'VMCOREINFO')
    with open(path('noise'), 'wb') as f:
        f.write(b'\x5a' * 100000)
    fails(read(path('noise')), 2, 'is not a dlog region', 'no other known')


@case
def output_that_cannot_be_written():
    g = region('boot x\nfill 3000 6 0 line\n')
    if os.path.exists('/dev/full'):
        with open('/dev/full', 'wb') as full:
            out = subprocess.run([READ, g], stdout=full,
                                 stderr=subprocess.PIPE)
        same(out.returncode, 2)
        assert b'No space' in out.stderr
    # a reader that has seen enough: not a word, at once
    for extra in ([], ['-f', '-nall']):
        p = subprocess.Popen([READ, *extra, g], stdout=subprocess.PIPE,
                             stderr=subprocess.PIPE)
        p.stdout.read(10)
        p.stdout.close()
        same(p.stderr.read(), b'')
        p.wait(20)


if __name__ == '__main__':
    main()
