#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""dlogd as an operator has it: real guests, journal, page and files at once."""

import json
import os
import sys
import time

sys.dont_write_bytecode = True
HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), 'scenarios'))
sys.path.insert(0, HERE)

from lib.case import case, main, until  # noqa: E402 (needs the paths above)
from lib.world import World, entries  # noqa: E402
from browser import Browser  # noqa: E402
from daemon import Place  # noqa: E402
from kept import Watched, incident  # noqa: E402
from journal import Journal  # noqa: E402
from peers import free_port  # noqa: E402

STATE = "document.querySelector('[data-key=\"region\"] .state').textContent"


@case
def a_hang_and_a_kill_are_seen_everywhere():
    """Evidence, journal and an open page tell of the same real guest."""
    journal = Journal()
    port = free_port()
    try:
        journal.start()
        with Watched('[sink jn]\ntype = journal\n', smp=2, size='16M',
                     options=('--listen', '127.0.0.1:%d' % port),
                     wrapper=journal.inside) as w, Browser() as page:
            def told(event):
                return [e for e in journal.entries()
                        if e.get('DLOG_EVENT') == event]

            w.load_driver()
            w.load_test()
            w.guest.must('echo before the hang > /dev/kmsg')
            page.open('http://127.0.0.1:%d/' % port)
            page.wait(STATE + " == 'running'")
            page.get('window.loaded_once = true')
            time.sleep(2)
            begin = time.monotonic()
            w.die('hang-all')
            bundle = w.place.wait_bundle('region', 'hung')
            took = time.monotonic() - begin
            print('bundle after %.2f s' % took)
            assert took < 3, took
            assert incident(bundle)['cpus']['stacks'] == '0-1'
            page.wait(STATE + " == 'hung'", 5)
            page.wait("document.querySelector('#incidents').textContent"
                      ".includes('hung')", 5)
            until('the journal to name the bundle',
                  lambda: [e for e in told('hung')
                          if e.get('DLOG_BUNDLE') == bundle],
                  20)
            assert [e for e in journal.entries()
                    if e['MESSAGE'] == 'before the hang'
                    and e['SYSLOG_IDENTIFIER'] == 'region'
                    and e['DLOG_BOOT'] == '1']
            w.guest.kill9()
            page.wait(STATE + " == 'off'", 10)
            until('the journal to tell of the kill',
                  lambda: told('vmm-gone'), 20)
            assert page.get('window.loaded_once'), 'the page was loaded again'
            assert not page.problems, page.problems
    finally:
        journal.close()


@case(long=True)
def two_guests_at_full_load():
    """What is left in the rings at the end has all been forwarded."""
    with Place() as place:
        out = place.path('out.json')
        with World(smp=2, size='64M') as a, World(smp=2, size='64M') as b:
            os.symlink(a.region, place.region('a'))
            os.symlink(b.region, place.region('b'))
            a.start_load(seconds=0, contexts=3)
            b.start_load(seconds=0, contexts=3)
            dlogd = place.dlogd('--json', out)
            time.sleep(5)
            cpu, lines = dlogd.cpu(), os.path.getsize(out)
            time.sleep(20)
            cpu = dlogd.cpu() - cpu
            lines = os.path.getsize(out) - lines
            print('%.1f %% of a core for %.1f MB/s of JSON' % (
                cpu * 5, lines / 20e6))
            a.guest.kill9()
            b.guest.kill9()
            time.sleep(3)
            assert dlogd.stop() == 0
            with open(out, 'rb') as f:
                sent = {(r['guest'], r['boot'], r['ring'], r['position'])
                        for r in map(json.loads, f) if 'position' in r}
            print('%d records forwarded' % len(sent))
            for world, name in ((a, 'a'), (b, 'b')):
                left = [(name, e['boot'], e['ring'], e['position'])
                        for e in entries(place.region(name))]
                assert len(left) > 1000
                missing = [e for e in left if e not in sent]
                assert not missing, (len(missing), missing[:3])


if __name__ == '__main__':
    main()
