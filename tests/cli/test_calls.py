#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Records of calls that broke a rule (guest-patch/wrap), in every format."""

import json
import os
import struct
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import babeltrace  # noqa: E402
import perfetto  # noqa: E402
from cli import case, objects, path, read, region, same, texts  # noqa: E402
from lib.case import main, skip  # noqa: E402

SITE = 0xffffffffc0000012
FATAL, RESULT = 1, 2
KIND_CALL = 9


def record(ns, level, flags, args, *strings):
    """As struct dlog_call of shared-abi/dlog_abi.h has it."""
    data = struct.pack('<QII', SITE, flags, len(args))
    data += b''.join(struct.pack('<Q', a) for a in args)
    data += b''.join(s + b'\0' for s in strings)
    return 'record %d %d %d %s\n' % (KIND_CALL, level, ns, data.hex())


def sample():
    return region('boot 6.1\n' + record(
        1000, 2, FATAL, [0, 7], b'strlcpy', b'dst must not be NULL',
        b'probe+0x12/0x40 [demo]') + record(
        2000, 4, RESULT, [64, 0], b'kmalloc', b'the result may be NULL',
        b'') + record(
        3000, 4, 0, [], b'schedule', b'must not sleep\xff<b>', b'x') +
        # one that says it has more arguments than there is room for
        'record %d 3 4000 %s\n' % (
            KIND_CALL, struct.pack('<QII', SITE, 0, 2**32 - 1).hex()))


TEXT = ['call: strlcpy(0x0, 0x7): dst must not be NULL, called from '
        'probe+0x12/0x40 [demo]',
        'call: kmalloc(0x40) = 0x0: the result may be NULL, called from '
        '0xffffffffc0000012',
        'call: schedule(): must not sleep\ufffd<b>, called from x',
        'call: <cut short>']


@case
def lines_and_json():
    g = sample()
    same(texts(g), [t.replace('\ufffd', r'\xff') for t in TEXT])
    same(texts('-t', 'call', '-l', 'crit', g), TEXT[:1])
    a = objects(g)
    same([o['kind'] for o in a], ['call'] * 4)
    same([o['level'] for o in a], [2, 4, 4, 3])
    same([o['text'] for o in a], TEXT)
    same(bytes.fromhex(a[0]['hex'])[:8], struct.pack('<Q', SITE))


@case
def ctf():
    r = read('-o', 'ctf', '-w', path('ctf'), sample())
    same((r.code, r.err), (0, ''))
    got, _ = babeltrace.events(path('ctf'))
    same([e.name for e in got], ['call', 'call', 'call', 'record'])
    same(got[0].fields, {
        'site': SITE, 'flags': FATAL, 'args_length': 2, 'args': [0, 7],
        'function': 'strlcpy', 'rule': 'dst must not be NULL',
        'caller': 'probe+0x12/0x40 [demo]', 'text': TEXT[0]})
    same((got[1].fields['args'], got[1].fields['caller']), ([64, 0], ' '))
    same((got[2].fields['args'], got[2].fields['rule']),
         ([], 'must not sleep\ufffd<b>'))
    same((got[3].fields['kind'], got[3].fields['arg']), (KIND_CALL, 3))
    same([e.context['level'] for e in got], [2, 4, 4, 3])


@case
def journal():
    r = read('-o', 'export', sample())
    for line in (b'MESSAGE=' + TEXT[0].encode(), b'MESSAGE=' +
                 TEXT[1].encode(), b'PRIORITY=2', b'DLOG_KIND=call'):
        assert line in r.raw.split(b'\n'), line
    text = TEXT[2].encode().replace('\ufffd'.encode(), b'\xff')
    assert b'MESSAGE\n' + struct.pack('<Q', len(text)) + text + b'\n' in r.raw


@case
def perfetto_instants():
    if not perfetto.PROTOC:
        skip('protoc is not installed')
    t = perfetto.Trace(read('-o', 'perfetto', sample()).raw)
    same([(i.category, i.name, i.ns) for i in t.instants],
         [('call', text, 1000 * (n + 1)) for n, text in enumerate(TEXT)])
    same([i.args['level'] for i in t.instants],
         ['crit', 'warn', 'warn', 'err'])


@case
def page():
    r = read('-o', 'html', '-w', path('report.html'), sample())
    same((r.code, r.err), (0, ''))
    with open(path('report.html'), encoding='utf-8') as f:
        text = f.read()
    block = text.split('<script id="data" type="application/json">')[1]
    block = block.split('</script>')[0]
    data = json.loads(block)
    same([data['kinds'][row[2]] for row in data['rows']], ['call'] * 4)
    same([row[6] for row in data['rows']], TEXT)
    assert '<b>' not in block


@case
def pstore_has_text_alone():
    r = read('-o', 'pstore', '-w', path('pstore'), sample())
    same((r.code, r.err), (0, ''))
    same(open(path('pstore/console-dlog-0')).read(), '')


if __name__ == '__main__':
    main()
