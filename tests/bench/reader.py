# SPDX-License-Identifier: GPL-2.0-or-later
"""The bytes of a ring, and how fast dlog-read gets them back.

Relies on tests/bench/fill.c for regions full of real kernel text, on pass.c
for what one pass over their bytes costs, and for the peer on babeltrace2.
"""

import os
import shutil
import subprocess

from common import BenchError, best, compile_c, create_region, program, run, \
    say, scratch, timed
import guests
from table import Missing, Row

MIB = 1 << 20
GIB = 1 << 30
RECORDS = 500000    # of the trace that dlog-read and babeltrace2 both read


def fill(path, size, *records):
    """A region of that size full of kernel text: where its bytes went."""
    create_region(path, str(size))
    text = run([compile_c('fill'), 'region', path, guests.kernel_log(),
                *map(str, records)])
    return {name: int(value) for name, value in
            (line.split() for line in text.splitlines())}


def bytes_used():
    say('bytes of a ring')
    with scratch(64 * MIB) as folder:
        s = fill(os.path.join(folder, 'region'), 16 * MIB)
    n = s['records']
    stored = s['header'] + s['tag'] + s['text'] + s['padding']
    return [
        Row('record_overhead_bytes', 'bytes', s['overhead_64'], 16,
            peers={'line_of_printk': (s['header'] + s['tag']
                                      + s['padding']) / n,
                   'and_sub_buffers': (s['stream'] - s['text']) / n},
            note='64 bytes of text; a kernel\'s own lines are %.0f bytes on '
            'average and carry 4 bytes of caller and padding to 8'
            % (s['text'] / n)),
        Row('ring_usable_percent', 'percent', 100 * stored / s['stream'], 97,
            more=True, peers={
                'without_padding': 100 * (stored - s['padding'])
                / s['stream'],
                'text_alone': 100 * s['text'] / s['stream']},
            note='bytes of records, header included, of those that the ring '
            'passed; the rest are START records and ends of sub-buffers'),
    ]


def count_lines(args):
    """Lines that a program prints, so that no figure is of a reader that
    gave up early."""
    lines = 0
    with subprocess.Popen(args, stdout=subprocess.PIPE) as process:
        while True:
            data = process.stdout.read(MIB)
            if not data:
                break
            lines += data.count(b'\n')
    if process.returncode:
        raise BenchError('status %d from %s' % (process.returncode,
                                                ' '.join(args)))
    return lines


def expect(result, statuses, what):
    if result['status'] not in statuses:
        raise BenchError('status %d from %s' % (result['status'], what))
    return result


def against_babeltrace(folder, text):
    """Records a second, both readers, of the same records."""
    region = os.path.join(folder, 'same')
    trace = os.path.join(folder, 'trace')
    fill(region, 96 * MIB, RECORDS)
    if count_lines(text + [region]) != RECORDS:
        raise BenchError('dlog-read has not given all of %d records' % RECORDS)
    ours = RECORDS / best(3, text + [region])['cpu']
    os.unlink(region)
    if not shutil.which('babeltrace2'):
        raise Missing('babeltrace2')
    os.mkdir(trace)
    run([compile_c('fill'), 'ctf', trace, guests.kernel_log(), str(RECORDS)])
    if count_lines(['babeltrace2', trace]) != RECORDS:
        raise BenchError('babeltrace2 has not given all of %d records'
                         % RECORDS)
    return ours, RECORDS / best(2, ['babeltrace2', trace])['cpu']


def outputs():
    """Records a second in the formats for other tools, beside JSON."""
    say('formats for other tools')
    read = program('dlog-read')
    rate = {}
    with scratch(512 * MIB) as folder:
        region = os.path.join(folder, 'region')
        fill(region, 96 * MIB, RECORDS)
        for name in ('json', 'ctf', 'export', 'pstore'):
            args = [read, '-q', '-o', name, '-w', os.path.join(folder, name),
                    '--force', region]
            rate[name] = RECORDS / expect(best(3, args), (0,), name)['cpu']
    return [Row('reader_ctf', 'M records/s', rate.pop('ctf') / 1e6, None,
                more=True, peers={name: r / 1e6 for name, r in rate.items()},
                beside='json', note='for each second of CPU, into files')]


def speed():
    read = program('dlog-read')
    check, text = [read, '--check'], [read, '-q', '--no-pager']
    with scratch(3 * GIB) as folder:
        small = os.path.join(folder, 'small')
        large = os.path.join(folder, 'large')
        say('a region of 1 GiB full of kernel text')
        fill(small, 64 * MIB)
        fill(large, GIB)
        passes = {name: float(value) for name, value in (
            line.split() for line in run([compile_c('pass'),
                                          large]).splitlines())}
        say('  dlog-read --check')
        rss = {'check_64m': timed(check + [small])['rss']}
        checked = expect(best(3, check + [large]), (0, 1), 'dlog-read --check')
        rss['check_1g'] = checked['rss']
        say('  dlog-read, text')
        lines = count_lines(text + [large])
        rss['text_64m'] = timed(text + [small])['rss']
        wrote = expect(best(3, text + [large], 'wall'), (0,), 'dlog-read')
        rss['text_1g'] = wrote['rss']
        say('  dlog-read, damaged')
        run([compile_c('fill'), 'damage', large])
        broken = expect(best(2, check + [large]), (1,),
                        'dlog-read --check on a damaged region')
        last = expect(best(3, [read, '-q', '--no-pager', '-b', '-n', '50',
                               large]), (0,), 'dlog-read -n 50')
        os.unlink(large)
        say('  babeltrace2')
        try:
            ours, peer = against_babeltrace(folder, text)
            versus = Row('reader_vs_babeltrace2', 'times', ours / peer, 5,
                         more=True, peers={'babeltrace2_M_records_s':
                                           peer / 1e6},
                         note='dlog-read %.3g M records/s' % (ours / 1e6))
        except Missing as err:
            versus = Row('reader_vs_babeltrace2', 'times', None, 5, more=True,
                         peers={'babeltrace2': str(err)})
    rss = {name: value / 1024 for name, value in rss.items()}
    small_rss = max(rss['check_64m'], rss['text_64m'])
    rate = GIB / checked['cpu'] / 1e9
    return [
        Row('reader_check', 'GB/s', rate, 2, more=True,
            peers={'memcpy': passes['memcpy'], 'crc32c': passes['crc32c'],
                   'read': passes['read']}, beside='memcpy',
            note='bytes of a 1 GiB region for each second of CPU; %.2f of '
            'a CRC32C pass; wall clock %.2f GB/s' % (
                rate / passes['crc32c'], GIB / checked['wall'] / 1e9)),
        Row('reader_text', 'M records/s', lines / wrote['wall'] / 1e6, 5,
            more=True, note='wall clock, to /dev/null; %.3g M for each second '
            'of CPU; %.1f M records' % (lines / wrote['cpu'] / 1e6,
                                        lines / 1e6)),
        versus,
        Row('reader_recover_1g', 's of CPU', broken['cpu'], 1,
            peers={'undamaged': checked['cpu'], 'last_50_lines': last['cpu']},
            note='all of it, with a superblock and 1 of 100 sub-buffers '
            'damaged'),
        Row('reader_memory', 'MiB', max(rss['check_1g'], rss['text_1g']),
            round(1.1 * small_rss + 0.5, 1), peers=rss,
            note='peak; target: as for 64 MiB, a tenth and half a MiB more'),
    ]
