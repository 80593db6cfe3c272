#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""dlogd's page and metrics: what they show, to whom, and that no text of a
guest is ever more than text."""

import html.parser
import http.client
import json
import os
import re
import socket
import subprocess
import sys
import time

sys.dont_write_bytecode = True
HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), 'scenarios'))
sys.path.insert(0, HERE)

from lib.case import case, main, skip  # noqa: E402 (needs the path above)
import browser  # noqa: E402
import openmetrics  # noqa: E402
from daemon import BUILD, Place  # noqa: E402

MKREGION = os.path.join(BUILD, 'tests', 'mkregion')
SHOTS = os.path.join(BUILD, 'tests', 'monitor')

# Whoever takes any of this for markup sets window.pwned, opens a dialog or
# asks for another host.
EVIL = r'''size 262144
rings 2
cpus 2
label <script>pwned=1</script>\x1b[2J"'\n<b>\xff
boot <script>alert(2)</script> now-100
ring 0
printk 6 T1 1000000 A<script>window.pwned=3</script>
printk 6 T1 2000000 B<img src=http://evil.example/x onerror=alert(4)>
printk 3 T1 3000000 C\x1b[31mred\x1b]0;title\x07\x9b2J\xc2\x9b31m\x0d\x00end
printk 4 T1 4000000 D\n[    9.000000] injected\n</div></main><h1>mine</h1>
printk 6 T1 5000000 E\xff\xfe\xc0\x80\xed\xa0\x80\xf4\x90\x80\x80 gr\xc3\xbc\xc3\x9fe
printk 6 T1 6000000 F" onmouseover="window.pwned=5" x='y' &lt;b&gt; &#60;i&#62;
printk 6 T1 7000000 G\nevent: begin\ndata: [[1,"l","","forged"]]\n\n
printk 6 T1 8000000 H</script><script>window.pwned=6</script><svg/onload=alert(7)>
'''

ELEMENTS = {'html', 'head', 'meta', 'link', 'script', 'noscript', 'title',
            'body', 'header', 'main', 'footer', 'section', 'h1', 'h2', 'p',
            'a', 'span', 'div', 'table', 'thead', 'tbody', 'tr', 'th', 'td',
            'dl', 'dt', 'dd'}
ATTRIBUTES = {'lang', 'charset', 'name', 'content', 'rel', 'href', 'src',
              'defer', 'http-equiv', 'id', 'class', 'role', 'scope',
              'tabindex', 'aria-live', 'aria-label', 'data-key',
              'data-events', 'data-tail'}


class Page(html.parser.HTMLParser):
    """Counts elements; anything that dlogd does not write is an error."""

    VOID = {'meta', 'link'}

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.counts, self.text, self.open, self.links = {}, '', [], []
        self.feed(text)
        self.close()
        assert not self.open, self.open

    def handle_starttag(self, tag, attrs):
        assert tag in ELEMENTS, tag
        assert {name for name, _ in attrs} <= ATTRIBUTES, (tag, attrs)
        attrs = dict(attrs)
        for name in ('href', 'src'):
            value = attrs.get(name, '/')
            assert value == 'data:,' or re.match(r'/(?!/)|%', value), attrs
        if 'href' in attrs:
            self.links.append(attrs['href'])
        if tag == 'script':
            assert attrs.get('src') == '/script.js', attrs
        self.counts[tag] = self.counts.get(tag, 0) + 1
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open and self.open.pop() == tag, tag

    def handle_data(self, data):
        assert not set(self.open) & {'script', 'style'}, data
        self.text += data

    def handle_comment(self, data):
        raise AssertionError('a comment: ' + data)


class Site(Place):
    """A place with a dlogd that serves the page."""

    def serve(self, *args):
        self.daemon = self.dlogd('--qmp', self.regions, '--bundles',
                                 self.path('bundles'), '--listen',
                                 '127.0.0.1:0', *args)
        _, match = self.daemon.wait_line(r'serving http://127.0.0.1:(\d+)/')
        self.daemon.at = 0
        self.port = int(match.group(1))
        self.url = 'http://127.0.0.1:%d' % self.port
        return self.daemon

    def evil(self, name='evil'):
        subprocess.run([MKREGION, self.region(name)], input=EVIL, text=True,
                       check=True)

    def ask(self, path, method='GET', headers=None, body=None):
        """(status, headers in lower case, body) of one request."""
        conn = http.client.HTTPConnection('127.0.0.1', self.port, timeout=10)
        try:
            conn.putrequest(method, path, skip_host=headers and
                            'Host' in headers)
            for name, value in (headers or {}).items():
                conn.putheader(name, value)
            if body is not None:
                conn.putheader('Content-Length', str(len(body)))
            conn.endheaders(body)
            answer = conn.getresponse()
            return (answer.status, {name.lower(): value for name, value
                                    in answer.getheaders()}, answer.read())
        finally:
            conn.close()

    def page(self, path):
        status, headers, body = self.ask(path)
        assert status == 200, (status, body)
        assert headers['content-type'] == 'text/html; charset=utf-8', headers
        return Page(body.decode())

    def wait(self, what, timeout=15):
        """Waits until what() is true."""
        deadline = time.monotonic() + timeout
        while not (found := what()):
            assert time.monotonic() < deadline, what
            time.sleep(0.1)
        return found

    def guests(self):
        status, headers, body = self.ask('/api/guests')
        assert status == 200 and headers['content-type'].startswith(
            'application/json'), headers
        return {guest['name']: guest for guest in json.loads(body)}

    def stream(self, path, rcvbuf=None):
        """A socket from which a stream's body comes, and its first bytes."""
        sock = socket.socket()
        if rcvbuf:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, rcvbuf)
        sock.settimeout(10)
        sock.connect(('127.0.0.1', self.port))
        sock.sendall(('GET %s HTTP/1.0\r\nHost: localhost\r\n\r\n'
                      % path).encode())
        return sock


def read_until(sock, wanted, timeout=10):
    data, deadline = b'', time.monotonic() + timeout
    while wanted not in data:
        assert time.monotonic() < deadline, data[-2000:]
        more = sock.recv(65536)
        assert more, 'ended: %r' % data[-2000:]
        data += more
    return data


def incident(site, dlogd, name='sim0'):
    """The path of a bundle's page once it is there."""
    def find():
        return [link for link in site.page('/guest/' + name).links
                if link.startswith('/incident/')]
    return site.wait(find)[0]


@case
def pages_and_states():
    with Site() as site:
        sims = site.sims('--guests', '2', '--rate', '50', '--period', '200',
                         '--qmp')
        dlogd = site.serve()
        site.wait(lambda: all(g['state'] == 'running' and g['last_line']
                              for g in site.guests().values()))
        guest = site.guests()['sim0']
        assert guest['release'] == '6.1.0-sim' and guest['boot'] == 1
        assert guest['heartbeat_age'] < 2 and guest['stale_cpus'] == 0
        front = site.page('/')
        assert 'sim0' in front.text and 'running' in front.text
        assert front.links.count('/guest/sim1') == 1
        text = site.page('/guest/sim1').text
        assert '6.1.0-sim' in text and '#0.1' in text and 'Boots' in text
        assert 'Still there' in site.page('/guest/sim1/loss').text
        assert site.ask('/guest/sim1/loss')[0] == 429
        assert site.ask('/healthz')[::2] == (200, b'ok\n')
        sims.do('panic sim0')
        dlogd.wait_event('sim0', 'panicked')
        site.wait(lambda: site.guests()['sim0']['state'] == 'panicked')
        assert site.guests()['sim1']['state'] == 'running'
        assert dlogd.stop() == 0


@case
def requests_that_are_refused():
    with Site() as site:
        site.create('one')
        site.serve()
        for method in ('POST', 'PUT', 'DELETE', 'OPTIONS', 'PATCH', 'TRACE'):
            status, headers, _ = site.ask('/', method, body=b'x' * 100000)
            assert status == 405 and headers['allow'] == 'GET, HEAD', method
        for path in ('/', '/guest/one', '/metrics', '/style.css', '/events',
                     '/guest/one/tail'):
            status, headers, body = site.ask(path, 'HEAD')
            assert status == 200 and not body, path
        for path in ('/x', '/guest/', '/guest/none', '/guest/one/x',
                     '/guest/../etc/passwd', '/guest/%2e%2e', '/incident/',
                     '/incident/one/x/', '/' + 'a' * 5000, '//', '/x%00'):
            assert site.ask(path)[0] in (404, 414), path
        for host, wanted in (('localhost', 200), ('127.0.0.1', 200),
                             ('LocalHost:99', 200), ('127.0.0.1:1', 200),
                             ('evil.example', 421), ('127.0.0.2', 421),
                             ('localhost.evil.example', 421), ('', 421),
                             ('[::1]', 421), ('127.0.0.1.evil.example', 421)):
            assert site.ask('/', headers={'Host': host})[0] == wanted, host
        _, headers, _ = site.ask('/')
        policy = headers['content-security-policy']
        assert "default-src 'none'" in policy and 'unsafe' not in policy
        assert headers['x-content-type-options'] == 'nosniff'
        assert headers['referrer-policy'] == 'no-referrer'


@case
def where_it_listens():
    with Site() as site:
        path = site.path('web')
        for _ in range(2):  # the second finds the first's socket
            dlogd = site.dlogd('--listen', path)
            dlogd.wait_line('web: serving ' + re.escape(path))
            assert os.stat(path).st_mode & 0o777 == 0o660
            with socket.socket(socket.AF_UNIX) as sock:
                sock.connect(path)
                sock.sendall(b'GET /healthz HTTP/1.0\r\n\r\n')
                assert read_until(sock, b'ok\n').startswith(b'HTTP/1.')
            dlogd.process.kill()
            dlogd.process.wait()
        assert 'beyond this host' not in dlogd.text()
        dlogd = site.dlogd('--listen', '0.0.0.0:0')
        dlogd.wait_line('beyond this host')
        assert dlogd.stop() == 0
        for where in ('nonsense', '127.0.0.1:', '127.0.0.1:99999',
                      '/' + 200 * 'x'):
            dlogd = site.dlogd('--listen', where, ready=False)
            dlogd.wait_line('web: cannot serve ' + re.escape(where))
            assert dlogd.process.wait(10) != 0
        # What may be there later is no reason to end.
        taken = socket.create_server(('127.0.0.1', 0))
        port = taken.getsockname()[1]
        dlogd = site.dlogd('--listen', '127.0.0.1:%d' % port)
        dlogd.wait_line('web: cannot serve 127.0.0.1:%d: Address already in '
                        'use' % port)
        site.port = port
        taken.close()
        dlogd.wait_line('web: serving http://127.0.0.1:%d/' % port)
        assert site.ask('/healthz')[0] == 200
        assert dlogd.text().count('cannot serve') == 1
        assert dlogd.stop() == 0
        path = site.path('later/web')
        dlogd = site.dlogd('--listen', path)
        dlogd.wait_line('web: cannot serve ' + re.escape(path))
        os.mkdir(site.path('later'))
        dlogd.wait_line('web: serving ' + re.escape(path))
        assert dlogd.stop() == 0 and not os.path.exists(path)
        # Nor is one of two addresses that is taken; skipped without IPv6.
        both = {info[4][0] for info in socket.getaddrinfo(
            'localhost', 1, type=socket.SOCK_STREAM)}
        if both == {'127.0.0.1', '::1'}:
            taken = socket.create_server(('::1', 0), family=socket.AF_INET6)
            dlogd = site.dlogd('--listen', 'localhost:%d'
                               % taken.getsockname()[1])
            dlogd.wait_line('web: serving http://127.0.0.1:')
            assert dlogd.stop() == 0
            taken.close()


@case
def a_guest_that_is_forgotten():
    """There is room for 4096; the oldest that nobody holds goes, and takes
    what waits for it along."""
    with Site() as site:
        dlogd = site.serve()
        control = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        control.connect(site.path('control'))

        def shutdown(name):
            control.send(json.dumps({'guest': name, 'op': 'stopped'}).encode())

        shutdown('first')
        site.wait(lambda: 'first' in site.guests())
        of_first = site.stream('/guest/first/events')
        of_all = site.stream('/events')
        for stream in of_first, of_all:
            read_until(stream, b'"rows":[')
        for i in range(4100):
            shutdown('g%d' % i)
        site.wait(lambda: 'g4099' in site.guests())
        guests = site.guests()
        assert len(guests) == 4096 and 'first' not in guests
        of_first.settimeout(10)
        while of_first.recv(65536):
            pass  # an endless one would end in a time-out
        of_all.settimeout(10)
        assert of_all.recv(65536)
        assert site.ask('/guest/first')[0] == 404
        assert dlogd.stop() == 0


@case
def metrics():
    with Site() as site:
        sims = site.sims('--guests', '3', '--rate', '50', '--period', '200',
                         '--qmp')
        dlogd = site.serve('--json', site.path('out.json'))
        sims.do('panic sim2')
        dlogd.wait_event('sim2', 'panicked')
        time.sleep(1)
        status, headers, body = site.ask('/metrics')
        assert status == 200 and headers['content-type'] == (
            'application/openmetrics-text; version=1.0.0; charset=utf-8')
        found = openmetrics.parse(body.decode())
        for family in found.values():
            assert family.get('TYPE') and family.get('HELP'), family
        samples = {key: value for family in found.values()
                   for key, value in family['samples'].items()}

        def get(name, **labels):
            return samples[name, tuple(sorted(labels.items()))]

        assert get('dlogd_guests', state='running') == 2
        assert get('dlogd_guests', state='panicked') == 1
        assert get('dlogd_guest_state', guest='sim2',
                   dlogd_guest_state='panicked') == 1
        assert get('dlogd_guest_state', guest='sim2',
                   dlogd_guest_state='running') == 0
        assert get('dlogd_guest_events_total', guest='sim2',
                   event='panicked') == 1
        assert get('dlogd_guest_heartbeat_age_seconds', guest='sim0') < 2
        assert get('dlogd_guest_boot', guest='sim0') == 1
        assert get('dlogd_guest_records_total', guest='sim0') >= 20
        assert get('dlogd_sink_up', sink='command-line', type='json') == 1
        assert get('dlogd_sink_records_total', sink='command-line',
                   type='json') >= 60
        assert get('process_open_fds') == dlogd.fds() or \
            abs(get('process_open_fds') - dlogd.fds()) < 5
        assert get('dlogd_build_info', version=next(
            value for (name, labels), value_ in samples.items()
            if name == 'dlogd_build_info' for _, value in labels)) == 1


@case
def the_parser_is_strict():
    good = '# TYPE a counter\n# HELP a x\na_total{b="c"} 1\n# EOF\n'
    openmetrics.parse(good)
    for bad in (good[:-6], good.replace('a_total', 'a'),
                good.replace(' 1', ' -1'), good.replace('"c"', '"c'),
                good.replace('{b="c"}', '{b="c",}'),
                good.replace('# EOF', 'a_total{b="c"} 2\n# EOF'),
                good.replace('# HELP', '# UNIT a bytes\n# HELP'),
                good.replace('# EOF', '# TYPE c gauge\nc 1\na_total 1\n'
                             '# EOF')):
        try:
            openmetrics.parse(bad)
        except ValueError:
            continue
        raise AssertionError('taken: ' + bad)


@case
def hostile_text_is_text():
    with Site() as site:
        site.evil()
        site.serve()
        site.wait(lambda: site.guests()['evil']['last_line'])
        page = site.page('/guest/evil')
        front = site.page('/')
        assert front.counts['script'] == page.counts['script'] == 1
        assert page.counts['h1'] == front.counts['h1'] == 1
        for text in ('A<script>window.pwned=3</script>',
                     'B<img src=http://evil.example/x onerror=alert(4)>',
                     r'C\x1b[31mred\x1b]0;title\x07\x9b2J\xc2\x9b31m\x0d'
                     r'\x00end',
                     r'E\xff\xfe\xc0\x80\xed\xa0\x80\xf4\x90\x80\x80 grüße',
                     '''F" onmouseover="window.pwned=5" x='y' &lt;b&gt; '''
                     '&#60;i&#62;'):
            assert text in page.text, (text, page.text)
        assert '<script>alert(2)</script>' in page.text     # release
        assert r'<script>pwned=1</script>\x1b[2J"' in page.text     # label
        for text in (page.text, front.text):
            assert not re.search('[\x00-\x08\x0b-\x1f\x7f-\x9f]', text)
        # The stream's frames are dlogd's alone.
        with site.stream('/guest/evil/tail') as sock:
            data = read_until(sock, b'onload').decode().split('\r\n\r\n')[1]
        frame = data.split('\n\n')[0].split('\n')
        assert frame[:2] == ['retry:1000', 'event:begin'], frame[:3]
        assert len(frame) == 3 and frame[2].startswith('data:')
        lines = json.loads(frame[2][5:])
        assert len(lines) == 8 and lines[0][3].startswith('A<script>')
        assert lines[6][3].startswith('G\nevent: begin\ndata: ')
        assert all(len(line) == 4 for line in lines)


@case
def bundles():
    with Site() as site:
        sims = site.sims('--guests', '1', '--rate', '20', '--period', '200',
                         '--qmp')
        dlogd = site.serve()
        site.wait(lambda: site.guests()['sim0']['state'] == 'running')
        sims.do('panic sim0')
        dlogd.wait_event('sim0', 'panicked')
        link = incident(site, dlogd)
        bundle = site.path('bundles', *link.split('/')[2:4])
        with open(site.path('secret'), 'w') as f:
            f.write('secret')
        os.symlink(site.path('secret'), os.path.join(bundle, 'link.txt'))
        os.mkdir(os.path.join(bundle, 'folder'))
        os.mkfifo(os.path.join(bundle, 'pipe'))
        with open(os.path.join(bundle, 'a&<b>.html'), 'w') as f:
            f.write('<script>window.pwned=1</script>')
        page = site.page(link)
        assert 'region.img' in page.text and 'a&<b>.html' in page.text
        assert 'link.txt' not in page.text and 'pipe' not in page.text
        files = [name for name in page.links if name.startswith('%')]
        assert len(files) >= 2
        for name in files:
            status, headers, body = site.ask(link + name)
            assert status == 200 and headers['content-type'] in (
                'text/plain; charset=utf-8', 'application/octet-stream')
            assert headers['x-content-type-options'] == 'nosniff'
            assert int(headers['content-length']) == len(body)
            path = bytes.fromhex(name.replace('%', '')).decode()
            with open(os.path.join(bundle, path), 'rb') as f:
                assert f.read() == body, path
        status, headers, body = site.ask(link + 'a%26%3Cb%3E.html')
        assert headers['content-type'] == 'application/octet-stream'
        assert headers['content-disposition'] == 'attachment'
        for name in ('link.txt', 'folder', 'folder/', 'pipe', '.', '..',
                     '../secret', '..%2f..%2fsecret', '%2e%2e',
                     '%2e%2e%2f%2e%2e%2fsecret', '/etc/passwd',
                     '%2fetc%2fpasswd', '%00', '.%00', 'none'):
            status, _, body = site.ask(link + name)
            assert b'secret' not in body and b'root:' not in body, name
            assert status == 404 or name in ('%00',), (name, status)
        for path in (link.replace('sim0', '..'), link[:-1] + 'x/region.img',
                     '/incident/sim0/../../secret'):
            assert site.ask(path)[0] == 404, path


@case
def slow_client_loses_lines_with_a_count():
    with Site() as site:
        sims = site.sims('--guests', '1', '--rate', '100', '--size', '262144',
                         '--bytes', '200', '--qmp')
        dlogd = site.serve()
        with site.stream('/guest/sim0/tail', rcvbuf=4096) as sock:
            read_until(sock, b'event:lines')
            before = dlogd.rss()
            sims.do('rate 40000')
            time.sleep(4)
            start = time.monotonic()
            assert site.ask('/healthz')[0] == 200
            assert time.monotonic() - start < 1
            grown = dlogd.rss() - before
            sims.do('rate 100')
            data = read_until(sock, b'event:missed\ndata:', 20)
            if not re.search(rb'event:missed\ndata:\d+\n', data):
                data += read_until(sock, b'\n')
        missed = int(re.search(rb'event:missed\ndata:(\d+)', data).group(1))
        assert missed > 1000, missed
        assert grown < 8 << 10, '%d KiB more' % grown
        print('%d lines lost, %d KiB more' % (missed, grown))


@case
def many_clients():
    with Site() as site:
        sims = site.sims('--guests', '5', '--rate', '50', '--qmp')
        dlogd = site.serve()
        site.wait(lambda: site.guests()['sim0']['state'] == 'running')
        fds = dlogd.fds()
        socks, refused = [], 0
        for i in range(100):
            sock = site.stream('/events' if i % 2 else '/guest/sim1/tail')
            head = read_until(sock, b'\r\n\r\n')
            if b' 200 ' in head.split(b'\r\n')[0]:
                socks.append(sock)
            else:
                assert b' 503 ' in head.split(b'\r\n')[0], head
                refused += 1
                sock.close()
        assert len(socks) == 32 and refused == 68   # [web] clients
        assert site.ask('/')[0] == 200
        sims.do('panic sim3')
        for sock in socks[1::2]:
            read_until(sock, b'state panicked')
        for sock in socks:
            sock.close()
        # The streams that nobody reads are found, and end.
        site.wait(lambda: dlogd.fds() <= fds + 2, 40)
        with site.stream('/events') as sock:
            assert b' 200 ' in read_until(sock, b'\r\n\r\n')
        assert dlogd.stop() == 0


# How the browser takes the page as it was sent, before the script writes
# anew what stands there.
AS_SENT = """(() => {
    const ask = new XMLHttpRequest();
    ask.open('GET', location.pathname, false);
    ask.send();
    return new DOMParser().parseFromString(ask.responseText, 'text/html')
        .querySelectorAll('script, img, svg, b, i, h1').length;
})()"""


# Pixels between where a record begins and where a line of its own does.
INDENT = """(() => {
    const line = [...document.querySelectorAll('#log .l')].find(
        (div) => div.textContent.includes('injected'));
    const text = line.lastChild, range = document.createRange();
    const left = (from) => {
        range.setStart(text, from);
        range.setEnd(text, from + 1);
        return range.getBoundingClientRect().left;
    };
    return left(text.data.indexOf('[')) -
        line.firstChild.getBoundingClientRect().left;
})()"""


def shot(b, name):
    os.makedirs(SHOTS, exist_ok=True)
    b.shot(os.path.join(SHOTS, name))


@case
def browser_sees_states_change():
    if not browser.CHROMIUM:
        skip('chromium is not installed')
    with Site() as site:
        site.evil()
        sims = site.sims('--guests', '6', '--rate', '20', '--period', '200',
                         '--qmp')
        dlogd = site.serve('--json', site.path('out.json'))
        state = ("document.querySelector('[data-key=\"%s\"] .state')"
                 ".textContent == '%s'")
        with browser.Browser() as b:
            b.open(site.url + '/')
            b.get('window.loaded_once = true')
            for name in ('sim0', 'sim1', 'sim2', 'sim3'):
                b.wait(state % (name, 'running'))
            sims.do('hang sim0')
            sims.do('kill sim1')
            sims.do('panic sim2')
            sims.do('pause sim3')
            b.wait(state % ('sim0', 'hung'))
            b.wait(state % ('sim1', 'off'))
            b.wait(state % ('sim2', 'panicked'))
            b.wait(state % ('sim3', 'paused'))
            b.wait("document.querySelectorAll('#incidents tbody a[href^="
                   "\"/incident/\"]').length >= 3", 20)
            shot(b, 'front.png')
            sims.do('wake sim0')
            b.wait(state % ('sim0', 'running'))
            assert b.get('window.loaded_once'), 'the page was loaded again'
            b.open(site.url + '/guest/sim4')
            b.wait("document.getElementById('link').textContent == 'live'")
            sims.do('say sim4 <b>the very last</b> line')
            b.wait("document.getElementById('log').textContent"
                   ".includes('<b>the very last</b> line')")
            shot(b, 'guest.png')
            assert not b.problems, b.problems
            assert all(url.startswith((site.url, 'data:,', 'about:'))
                       for url in b.requests), b.requests
        assert dlogd.stop() == 0


@case
def browser_takes_hostile_text_for_text():
    if not browser.CHROMIUM:
        skip('chromium is not installed')
    with Site() as site:
        site.evil()
        sims = site.sims('--guests', '1', '--period', '200', '--qmp')
        site.serve()
        with browser.Browser(dark=True) as b:
            for path in ('/', '/guest/evil', '/guest/evil/loss'):
                b.open(site.url + path)
                time.sleep(1)
                assert b.get('typeof window.pwned') == 'undefined', path
                assert b.get("document.querySelectorAll('script').length") == 1
                assert not b.get("document.querySelectorAll('img, svg, b, i')"
                                 '.length'), path
                if not path.endswith('loss'):   # which is not asked again
                    assert b.get(AS_SENT) == 2, path
                if path == '/guest/evil':
                    # "injected" begins further right than real stamps.
                    assert b.get(INDENT) > 50
                    shot(b, 'hostile.png')
            b.open(site.url + '/guest/sim0')
            sims.do('say sim0 <img src=http://evil.example/y '
                    'onerror=window.pwned=1>')
            b.wait("document.getElementById('log').textContent"
                   ".includes('evil.example')")
            assert b.get('typeof window.pwned') == 'undefined'
            # What the policy forbids, even if something were let through.
            b.get("document.body.append(Object.assign(document.createElement("
                  "'script'), {textContent: 'window.pwned = 2'}))")
            b.get("document.body.append(Object.assign(document.createElement("
                  "'img'), {src: 'http://evil.example/z'}))")
            time.sleep(0.5)
            assert b.get('typeof window.pwned') == 'undefined'
            assert not b.dialogs, b.dialogs
            assert all('Content Security' in text for text in b.problems)
            assert b.problems, 'the policy forbids nothing'


if __name__ == '__main__':
    main()
