#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""dlog-read -o html in a real Chromium: what it shows, finds and filters, and
that no text of a guest is ever more than text."""

import html.parser
import json
import os
import re
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
sys.path.insert(0, os.path.join(os.path.dirname(HERE), 'monitor'))

import browser  # noqa: E402
import ftrace  # noqa: E402
from cli import BUILD, READ, case, fails, path, read, region  # noqa: E402
from cli import same, terminal  # noqa: E402
from lib.case import main, skip  # noqa: E402

SHOTS = os.path.join(BUILD, 'tests', 'cli')
T0 = 1700000000

# Whoever takes any of this for markup sets window.pwned, opens a dialog or
# asks for another host.
EVIL = r'''rings 2
label <script>pwned=1</script>\x1b[2J"'\n<b>\xff
boot <script>alert(2)</script> 1700000000000000000
clock 0 1700000000000000000
printk 6 T1 1000000 A<script>window.pwned=3</script>
printk 6 T1 2000000 B<img src=http://evil.example/x onerror=alert(4)>
printk 3 T1 3000000 C\x1b[31mred\x1b]0;title\x07\x9b2J\xc2\x9b31m\x0d\x00end
printk 4 T1 4000000 D\n[    9.000000] injected\n</div></main><h1>mine</h1>
printk 6 T1 5000000 E\xff\xc0\x80\xed\xa0\x80 gr\xc3\xbc\xc3\x9fe \xe2\x80\xaetxt.exe
ring 1
printk 6 T1 6000000 F" onmouseover="window.pwned=5" x='y' &lt;b&gt; &#60;i&#62;
printk 6 T1 7000000 G\xe2\x80\xa8window.pwned=6\xe2\x80\xa9"]]}
printk 6 T1 8000000 H</script><script>window.pwned=6</script><svg/onload=alert(7)>
printk 6 T1 9000000 I<!--<script>
'''

ELEMENTS = {'html', 'head', 'meta', 'title', 'style', 'script', 'noscript',
            'body', 'header', 'main', 'footer', 'section', 'details',
            'summary', 'h1', 'p', 'b', 'span', 'div', 'dl', 'kbd', 'button',
            'input', 'label', 'select'}


def report(*args, name='report.html'):
    r = read('-q', '-o', 'html', '-w', path(name), '--force', *args)
    same((r.code, r.err), (0, ''))
    with open(path(name), encoding='utf-8') as f:
        return f.read()


def embedded(text):
    return json.loads(re.search(
        r'<script id="data" type="application/json">(.*?)</script>', text,
        re.S).group(1))


class Opened(browser.Browser):
    """The report of @args, in a browser."""

    def __init__(self, *args, **kw):
        if not browser.CHROMIUM:
            skip('chromium is not installed')
        report(*args)
        super().__init__(**kw)
        self.url = 'file://' + path('report.html')
        self.open(self.url)
        self.wait("document.getElementById('count').textContent != ''")

    def count(self):
        """[shown, all]"""
        text = self.get("document.getElementById('count').textContent")
        return [int(n.replace(',', '')) for n in
                re.match(r'([\d,]+) of ([\d,]+) records', text).groups()]

    def rows(self):
        """Texts of the rows that are made, cell by cell."""
        return self.get("[...document.querySelectorAll('#window .row')].map("
                        "(r) => [...r.children].map((c) => c.textContent))")

    def type(self, text):
        self.get("document.getElementById('search').value = %s;"
                 "document.getElementById('search')"
                 ".dispatchEvent(new Event('input'))" % json.dumps(text))
        time.sleep(0.4)         # it waits for the next letter

    def click(self, selector):
        self.get("document.querySelector(%s).click()" % json.dumps(selector))

    def key(self, name, on):
        self.get("document.getElementById('%s').focus()" % on)
        for kind in ('keyDown', 'keyUp'):
            self.call('Input.dispatchKeyEvent', type=kind, key=name)

    def mouse(self, kind, x, y, **more):
        self.call('Input.dispatchMouseEvent', type=kind, x=x, y=y, **more)

    def fine(self):
        """Nothing of the page was wrong, and it asked for nothing."""
        same((self.problems, self.dialogs), ([], []))
        same([u for u in self.requests if u != self.url], [])
        same(self.get('typeof window.pwned'), 'undefined')


def log_script(n=0):
    """200 records on two CPUs: every tenth an error, every fourth a warning
    where it is none."""
    lines = ['size 4194304', 'label guest-1', 'rings 2', 'cpus 2', 'boot old',
             'printk 6 T0 1 of the boot before', 'boot 6.12.0 %d' % (T0 * 10**9),
             'clock 0 %d' % (T0 * 10**9)]
    for i in range(200):
        level = 3 if i % 10 == 0 else 4 if i % 4 == 0 else 6
        lines += ['ring %d' % (i % 2),
                  'printk %d T%d %d line %d%s' % (
                      level, i % 7, 10**9 + i * 10**7, i,
                      ' needle' if i % 50 == 49 else '')]
    lines += ['beat 0 0 3000000000 1', 'beat 1 1 3000000000 1',
              'status 4 3000000000']
    return '\n'.join(lines) + '\n'


class Tags(html.parser.HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.seen, self.attrs = [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.seen.append(tag)
        self.attrs += [(tag, k, v) for k, v in attrs]


@case
def file_alone():
    """One file: no address in it, no handler, a policy that lets nothing in,
    a nonce of its own."""
    text = report(region(EVIL))
    tags = Tags(text)
    assert set(tags.seen) <= ELEMENTS, set(tags.seen) - ELEMENTS
    same(tags.seen.count('script'), 2)
    for tag, name, value in tags.attrs:
        assert name not in ('src', 'href', 'style', 'action'), (tag, name)
        assert not name.startswith('on'), (tag, name)
    policy, = (v for t, k, v in tags.attrs
               if t == 'meta' and k == 'content' and 'default-src' in v)
    assert "default-src 'none'" in policy and 'unsafe' not in policy
    nonces = {v for _, k, v in tags.attrs if k == 'nonce'}
    same(len(nonces), 1)
    assert re.fullmatch(r'[0-9a-f]{32}', nonces.copy().pop())
    assert "'nonce-%s'" % nonces.pop() in policy
    data = re.search(r'type="application/json">(.*?)</script>', text,
                     re.S).group(1)
    for c in '<>&\u2028\u2029':
        assert c not in data, hex(ord(c))
    assert report(region(EVIL)) != text     # the nonce


@case
def hostile_text_stays_text():
    with Opened(region(EVIL)) as b:
        same(b.count(), [9, 9])
        shown = [r[4] for r in b.rows()]
        same([t[0] for t in shown], list('ABCDEFGHI'))
        same(shown[0], 'A<script>window.pwned=3</script>')
        same(shown[7], 'H</script><script>window.pwned=6</script>'
                       '<svg/onload=alert(7)>')
        # control characters are seen, not obeyed; U+202E neither
        assert shown[2].startswith(r'C\x1b[31mred\x1b]0;title\x07'), shown[2]
        assert 'grüße' in shown[4] and '\\u202etxt' in shown[4], shown[4]
        for i in range(9):
            b.key('ArrowDown', 'rows')
        b.type('<script>')
        same(b.count()[0], 3)
        same(b.get("document.querySelectorAll('mark').length"), 3)
        for tag in ('img', 'svg', 'h1 b', '#window script', '#one script'):
            same(b.get("document.querySelectorAll('%s').length" % tag), 0)
        same(b.get("document.querySelectorAll('h1').length"), 1)
        b.fine()


@case
def head():
    with Opened(region(log_script())) as b:
        same(b.get('document.title'), 'guest-1, boot 2 - dlog')
        facts = b.get("document.getElementById('facts').innerText")
        for part in ('2, the latest', '6.12.0', 'panic', 'nothing',
                     '1.000000 to 2.990000',
                     # T0 is 2023-11-14 22:13:20 UTC
                     '2023-11-14 22:13:22.990'):
            assert part in facts, (part, facts)
        same(b.get("document.querySelectorAll('#boots tbody tr').length"), 2)
        same(b.get("document.querySelectorAll('#beats tbody tr').length"), 2)
        same(b.get("document.querySelectorAll('#loss tbody tr').length"), 4)
        b.fine()
        # long ago for a guest that runs, all it should be for one that died
        beats = "document.getElementById('beats').textContent"
        assert 'stale' not in b.get(beats)
    script = log_script()
    with Opened(region(script.replace('status 4 ', 'period 1000\nstatus 2 '),
                       'runs.img')) as b:
        assert 'stale' in b.get(beats)
    with Opened('-b', '1', region(script)) as b:
        same(b.get('document.title'), 'guest-1, boot 1 - dlog')
        same(b.count(), [1, 1])
    lossy = region('rings 1\nboot x\nprintk 6 T0 10 a\ntorn 20 b\n'
                   'printk 6 T0 30 c\n')
    with Opened(lossy) as b:
        assert '1 torn' in b.get("document.getElementById('facts').innerText")


@case
def filters_and_search():
    with Opened(region(log_script())) as b:
        same(b.count(), [200, 200])
        # i % 10 == 0: 20 errors; i % 4 == 0 and not i % 20 == 0: 40 warnings
        b.click('#levels input[value="6"]')
        same(b.count(), [60, 200])
        b.click('#levels input[value="4"]')
        same(b.count(), [20, 200])
        same({r[2] for r in b.rows()}, {'err'})
        b.click('#levels input[value="6"]')
        b.click('#levels input[value="4"]')
        b.click('#cpus input[value="1"]')
        same(b.count(), [100, 200])
        same({r[1] for r in b.rows()}, {'CPU 0'})
        b.click('#cpus input[value="1"]')
        b.type('NEEDLE')
        same(b.count(), [4, 200])
        same([r[4] for r in b.rows()],
             ['line %d needle' % i for i in (49, 99, 149, 199)])
        b.type('line 1.$')
        same(b.count()[0], 0)
        b.click('#regex')
        b.type('line 1.$')
        same(b.count()[0], 10)
        b.type('line (')
        same(b.get("document.getElementById('search').validity.valid"), False)
        same(b.count()[0], 200)
        b.type('')
        same(b.count()[0], 200)
        b.fine()


@case
def timeline():
    """A lane for each CPU; a click goes to the line, a line to its place."""
    with Opened(region(log_script())) as b:
        same(b.get("[...document.querySelectorAll('.lane:not(.axis) .name')]"
                   ".map((n) => n.textContent)"), ['CPU 0', 'CPU 1'])
        box = b.get("JSON.stringify(document.querySelector('[data-ring=\"1\"]"
                    " .draw').getBoundingClientRect())")
        box = json.loads(box)
        # half way from line 0 (1.00 s) to line 199 (2.99 s) is 1.995 s: of
        # CPU 1, which has the odd ones, line 99 (1.99 s) is nearest
        x, y = box['x'] + box['width'] / 2, box['y'] + box['height'] / 2
        for kind in ('mousePressed', 'mouseReleased'):
            b.mouse(kind, x, y, button='left', clickCount=1)
        chosen = "document.querySelector('[aria-selected=true]')"
        same(b.get(chosen + '.lastChild.textContent'), 'line 99 needle')
        cursor = b.get("document.getElementById('cursor')"
                       ".getBoundingClientRect().x")
        assert abs(cursor - x) < 5, (cursor, x)
        # and the other way: the last line is at the right end
        b.key('End', 'rows')
        same(b.get(chosen + '.lastChild.textContent'), 'line 199 needle')
        cursor = b.get("document.getElementById('cursor')"
                       ".getBoundingClientRect().x")
        assert abs(cursor - box['x'] - box['width']) < 8, (cursor, box)
        # twice as close around the middle: the end is out of view, and comes
        # back when its line is chosen again
        b.key('+', 'lanes')
        hidden = "document.getElementById('cursor').hidden"
        same(b.get(hidden), True)
        b.key('ArrowUp', 'rows')
        same(b.get(hidden), False)
        # pixels: an error of CPU 0 is red at the left end, CPU 1 has none
        b.key('0', 'lanes')
        red = ("(() => { const c = document.querySelector('[data-ring=\"%d\"]"
               " canvas'); const d = c.getContext('2d').getImageData(0, 0, "
               "12, c.height).data; let n = 0; for (let i = 0; i < d.length; "
               "i += 4) n += d[i] > 150 && d[i + 1] < 60 && d[i + 3] > 200; "
               "return n; })()")
        assert b.get(red % 0) > 0
        same(b.get(red % 1), 0)
        b.fine()


@case
def scheduling():
    """Threads as coloured slices, idle as none; events by name."""
    idle, bash, cat = ('swapper/0', 0, 120), ('bash', 812, 120), ('cat', 9, 120)
    g = region('rings 1\ncpus 1\nboot x\nbeat 0 0 1 1\n'
               'printk 6 T0 500000000 before\n' +
               ftrace.switch(10**9, bash, 0, bash) +
               'printk 6 T812 1500000000 said\n' +
               ftrace.switch(2 * 10**9, bash, 1, idle) +
               ftrace.switch(3 * 10**9, idle, 0, cat) +
               ftrace.switch(4 * 10**9, cat, 1, idle) +
               ftrace.wake('sched_waking', 5 * 10**9, 0, bash, 0, 2))
    with Opened(g) as b:
        same(b.count(), [7, 7])
        same([r[3] for r in b.rows()],
             ['T0', 'bash-812', 'T812', 'bash-812', '<idle>-0', 'cat-9',
              '<idle>-0'])
        same(b.rows()[6][4],
             'sched:sched_waking: comm=bash pid=812 prio=120 target_cpu=000')
        # 0.5 to 5 s: not known until 1, bash until 2, cat from 3 to 4
        pixel = ("(() => { const c = document.querySelector('[data-ring=\"0\"]"
                 " canvas'); return [...c.getContext('2d').getImageData("
                 "c.width * %g, c.height / 4 - 8, 1, 1).data].join(); })()")
        at = [b.get(pixel % part) for part in (0.05, 0.2, 0.45, 0.65, 0.9)]
        same([at[0], at[2], at[4]], ['0,0,0,0'] * 3)
        assert len(set(at)) == 3, at
        same(b.get("[...document.getElementById('event').options].map("
                   "(o) => o.textContent)"),
             ['all events', 'no events', 'sched:sched_switch (4)',
              'sched:sched_waking (1)'])
        for value, count in (('0', 4), ('1', 1), ('-', 2), ('', 7)):
            b.get("document.getElementById('event').value = '%s';"
                  "document.getElementById('event')"
                  ".dispatchEvent(new Event('change'))" % value)
            same(b.count(), [count, 7])
        b.fine()


@case
def keys():
    with Opened(region(log_script())) as b:
        chosen = "document.querySelector('[aria-selected=true]')"
        b.key('Home', 'rows')
        same(b.get(chosen + '.lastChild.textContent'), 'line 0')
        b.key('ArrowDown', 'rows')
        same(b.get(chosen + '.lastChild.textContent'), 'line 1')
        b.key('End', 'rows')
        b.key('ArrowUp', 'rows')
        same(b.get(chosen + '.lastChild.textContent'), 'line 198')
        same(b.get("document.querySelector('#one pre').textContent"),
             'line 198')
        b.key('/', 'rows')
        same(b.get('document.activeElement.id'), 'search')
        b.key('Escape', 'search')
        same(b.get('document.activeElement.id'), 'rows')
        b.fine()


@case
def a_hundred_thousand():
    """Loaded within seconds, few elements, and the end can be reached."""
    script = 'size 67108864\nrings 4\ncpus 4\nboot x\n'
    for ring in range(4):
        script += ('ring %d\nfill 25000 6 %d000 record\nbeat %d %d 1 1\n'
                   % (ring, 1000 + ring, ring, ring))
    g = region(script)
    begin = time.monotonic()
    r = report('-n', '100000', g)
    made = time.monotonic() - begin
    same(len(embedded(r)['rows']), 100000)
    begin = time.monotonic()
    with Opened('-n', '100000', g) as b:
        load = time.monotonic() - begin
        print('made in %.1f s, %d bytes; open in %.1f s' % (made, len(r), load))
        assert load < 15, load
        same(b.count(), [100000, 100000])
        assert b.get("document.querySelectorAll('*').length") < 2000
        same(b.rows()[-1][4], 'record24999')   # it begins at the end
        b.get("document.getElementById('rows').scrollTop = 0")
        b.wait("document.querySelector('#window .row')"
               ".lastChild.textContent == 'record0'")
        b.get("document.getElementById('rows').scrollTop = 1e9")
        b.wait("document.querySelector('#window .row:last-child')"
               ".lastChild.textContent == 'record24999'")
        begin = time.monotonic()
        b.type('record12345')
        same(b.count()[0], 4)
        assert time.monotonic() - begin < 5
        b.fine()


@case
def what_is_shown():
    """The last 10 s of the boot, unless options say otherwise."""
    g = region('boot x\nprintk 6 T0 1000000000 a\nprintk 6 T0 5000000000 b\n'
               'printk 3 T0 10000000000 c\nprintk 6 T0 15000000000 d\n')

    def shown(*args):
        return ''.join(row[6] for row in embedded(report(*args, g))['rows'])

    same(shown(), 'bcd')
    same(shown('-n', 'all'), 'abcd')
    same(shown('-n', '2'), 'cd')
    same(shown('-S', '-5s'), 'cd')
    same(shown('-U', '9'), 'ab')
    same(shown('-l', 'err'), 'c')
    same(embedded(report('-n', '2', g))['cut'], True)
    same(embedded(report(g))['cut'], False)
    # times go back only in a broken guest: still right
    data = embedded(report(region('boot x\nprintk 6 T0 3000 a\nring 1\n'
                                  'printk 6 T0 2000 b\n')))
    at, times = int(data['base']), []
    for row in data['rows']:
        at += row[0]
        times.append(at)
    same(sorted(times), [2000, 3000])


@case
def on_paper():
    """Printed, it is light and has its rows; on a dark screen it is dark."""
    with Opened(region(log_script()), dark=True) as b:
        paper = "getComputedStyle(document.body).backgroundColor"
        same(b.get(paper), 'rgb(20, 24, 28)')
        b.shot(os.path.join(SHOTS, 'report-dark.png'))
        b.get("dispatchEvent(new Event('beforeprint'))")
        same(b.get(paper), 'rgb(255, 255, 255)')
        same(len(b.rows()), 200)
        b.get("dispatchEvent(new Event('afterprint'))")
        same(b.get(paper), 'rgb(20, 24, 28)')
        assert len(b.rows()) < 100
        assert len(b.call('Page.printToPDF')['data']) > 5000
        b.fine()


@case
def nothing_to_show():
    with Opened('-l', 'crit', region(log_script())) as b:
        same((b.count(), b.rows()), ([0, 0], []))
        b.key('ArrowDown', 'rows')
        b.key('+', 'lanes')
        b.fine()
    # no guest has been here: no boot, no page
    fails(read('-o', 'html', '-w', path('none'), region('')), 2, 'no boot yet')
    assert not os.path.exists(path('none'))


@case
def times_that_cannot_be():
    """2^63 ns are 292 years: close up, the axis still ends."""
    g = region('boot x 1700000000000000000\nclock 0 1700000000000000000\n'
               'printk 6 T0 1 a\nprintk 6 T0 %d b\n' % (2**63 - 1))
    with Opened('-n', 'all', g) as b:
        same(b.count(), [2, 2])
        b.key('End', 'rows')
        for i in range(80):
            b.get("document.getElementById('closer').click()")
        b.key('End', 'lanes')
        b.key('ArrowUp', 'rows')
        same(b.get("document.querySelector('#one pre').textContent"), 'a')
        b.fine()


@case
def where_it_goes():
    g = region(log_script())
    code, shown = terminal(READ, '-o', 'html', g)
    same(code, 2)
    assert 'not for a terminal' in shown and '-w' in shown, shown
    fails(read('-o', 'html', g, g), 2, 'one file')
    fails(read('-o', 'html', '-f', g), 2, 'cannot follow')
    r = read('-o', 'html', g)
    assert r.out.startswith('<!DOCTYPE html>')
    assert 'boot 2, the latest of 2' in r.err, r.err


if __name__ == '__main__':
    main()
