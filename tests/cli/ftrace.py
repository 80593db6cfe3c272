# SPDX-License-Identifier: GPL-2.0-or-later
"""Events of the kernel's scheduler and of the function tracer for mkregion's
scripts: formats as Linux 6.1 has them in /sys/kernel/tracing/events, and
records packed by their offsets.  Ids: the catalog numbers types as they come,
from 1."""

import struct

COMMON = r'''name: %s\nformat:
\tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;
\tfield:unsigned char common_flags;\toffset:2;\tsize:1;\tsigned:0;
\tfield:unsigned char common_preempt_count;\toffset:3;\tsize:1;\tsigned:0;
\tfield:int common_pid;\toffset:4;\tsize:4;\tsigned:1;

'''

STATES = ('(0x00000000 | 0x00000001 | 0x00000002 | 0x00000004 | 0x00000008 | '
          '0x00000010 | 0x00000020 | 0x00000040)')

SWITCH = COMMON % 'sched_switch' + r'''
\tfield:char prev_comm[16];\toffset:8;\tsize:16;\tsigned:0;
\tfield:pid_t prev_pid;\toffset:24;\tsize:4;\tsigned:1;
\tfield:int prev_prio;\toffset:28;\tsize:4;\tsigned:1;
\tfield:long prev_state;\toffset:32;\tsize:8;\tsigned:1;
\tfield:char next_comm[16];\toffset:40;\tsize:16;\tsigned:0;
\tfield:pid_t next_pid;\toffset:56;\tsize:4;\tsigned:1;
\tfield:int next_prio;\toffset:60;\tsize:4;\tsigned:1;

print fmt: "prev_comm=%s prev_pid=%d prev_prio=%d prev_state=%s%s ==> '''.strip(
    '\n') + ('next_comm=%s next_pid=%d next_prio=%d", REC->prev_comm, '
             'REC->prev_pid, REC->prev_prio, (REC->prev_state & (((' + STATES +
             ' + 1) << 1) - 1)) ? __print_flags(REC->prev_state & (((' +
             STATES + ' + 1) << 1) - 1), "|", { 0x00000001, "S" }, '
             '{ 0x00000002, "D" }, { 0x00000004, "T" }, { 0x00000008, "t" }, '
             '{ 0x00000010, "X" }, { 0x00000020, "Z" }, { 0x00000040, "P" }, '
             '{ 0x00000080, "I" }) : "R", REC->prev_state & ((' + STATES +
             ' + 1) << 1) ? "+" : "", REC->next_comm, REC->next_pid, '
             'REC->next_prio\n')

WAKE = r'''
\tfield:char comm[16];\toffset:8;\tsize:16;\tsigned:0;
\tfield:pid_t pid;\toffset:24;\tsize:4;\tsigned:1;
\tfield:int prio;\toffset:28;\tsize:4;\tsigned:1;
\tfield:int target_cpu;\toffset:32;\tsize:4;\tsigned:1;

print fmt: "comm=%s pid=%d prio=%d target_cpu=%03d", REC->comm, REC->pid, '''\
    .strip('\n') + 'REC->prio, REC->target_cpu\n'


FUNCTION = COMMON % 'function' + r'''
\tfield:unsigned long ip;\toffset:8;\tsize:8;\tsigned:0;
\tfield:unsigned long parent_ip;\toffset:16;\tsize:8;\tsigned:0;

print fmt: " %ps <-- %ps", (void *)REC->ip, (void *)REC->parent_ip
'''.lstrip('\n')


def _line(text):
    """In mkregion's words."""
    return 'format ' + text.replace('\n', r'\n') + '\n'


def _record(name, ns, data, system='sched'):
    return 'event %s:%s - %d %s\n' % (system, name, ns, data.hex())


def switch(ns, prev, state, nxt, type_id=1):
    """prev and nxt: (comm, pid, prio)."""
    return _line(SWITCH) + _record('sched_switch', ns, struct.pack(
        '<HBBi16siiq16sii', type_id, 0, 0, prev[1], prev[0].encode(), prev[1],
        prev[2], state, nxt[0].encode(), nxt[1], nxt[2]))


def wake(name, ns, pid, who, cpu, type_id):
    """Thread pid wakes who, (comm, pid, prio)."""
    return _line(COMMON % name + WAKE) + _record(name, ns, struct.pack(
        '<HBBi16siii', type_id, 0, 0, pid, who[0].encode(), who[1], who[2],
        cpu))


def function(ns, ip, parent, type_id=1):
    return _line(FUNCTION) + _record('function', ns, struct.pack(
        '<HBBiQQ', type_id, 0, 0, 12, ip, parent), 'ftrace')
