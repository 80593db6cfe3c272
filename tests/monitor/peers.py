# SPDX-License-Identifier: GPL-2.0-or-later
"""What the tests of dlogd's forwarding run it with: simulated guests with
their ledger, and the servers that its sinks speak to.

Relies on the Python standard library, openssl and nats-server."""

import collections
import json
import os
import random
import re
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
import threading
import time

import daemon
from daemon import BUILD, DLOGD
from lib.case import until


def free_port(kind=socket.SOCK_STREAM):
    with socket.socket(socket.AF_INET, kind) as s:
        s.bind(('127.0.0.1', 0))
        return s.getsockname()[1]


class Sims(daemon.Sims):
    """simguests, and what it has committed."""

    def __init__(self, where, guests=1, rings=2, size='16M', rate=0,
                 payload=64, more=()):
        regions = os.path.join(where, 'regions')
        os.makedirs(regions, exist_ok=True)
        self.ledger_path = os.path.join(where, 'ledger')
        unit = {'M': 1 << 20, 'K': 1 << 10}[size[-1]]
        super().__init__(
            regions, '--guests', str(guests), '--rings', str(rings),
            '--size', str(int(size[:-1]) * unit), '--rate', str(rate),
            '--bytes', str(payload), '--ledger', self.ledger_path, *more)

    def ledger(self):
        """{(guest, boot, ring): number of the last record}"""
        self.do('ledger')
        with open(self.ledger_path) as f:
            lines = [json.loads(line) for line in f]
        return {(e['guest'], e['boot'], e['ring']): e['last']
                for e in lines if e['last']}

    def close(self):
        if self.process.poll() is None:
            self.process.terminate()
            self.process.wait(10)
        self.process.stdin.close()
        self.process.stdout.close()


class Daemon:
    """dlogd with its configuration, in the foreground."""

    def __init__(self, where, sinks, more='', wrapper=()):
        self.where = where
        self.wrapper = list(wrapper)
        self.config = os.path.join(where, 'dlogd.conf')
        self.log = os.path.join(where, 'log')
        self.cursors = os.path.join(where, 'state', 'cursors')
        text = ('[sources]\nregions = %s\n[dlogd]\nstate-dir = %s\n'
                'control =\n[web]\nlisten = none\n%s\n'
                % (os.path.join(where, 'regions'),
                   os.path.join(where, 'state'), more))
        for name, keys in sinks.items():
            text += '[sink %s]\n' % name
            text += ''.join('%s = %s\n' % item for item in keys.items())
        with open(self.config, 'w') as f:
            f.write(text)
        self.process = None

    def start(self):
        with open(self.log, 'a') as log:
            self.process = subprocess.Popen(
                self.wrapper + [DLOGD, '-c', self.config],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        return self

    def said(self):
        with open(self.log) as f:
            return f.read()

    def kill(self):
        self.process.kill()
        self.process.wait()

    def stop(self):
        """In order, and within the time that forward_stop() promises."""
        if not self.process or self.process.poll() is not None:
            return
        self.process.terminate()
        status = self.process.wait(10)
        assert status == 0, (status, self.said())


class World:
    """A directory, guests and dlogd; all gone in the end."""

    def __init__(self, sinks, sims=None, more='', wrapper=()):
        self.where = tempfile.mkdtemp(prefix='dlog-forward-')
        self.path = lambda name: os.path.join(self.where, name)
        sinks = {name: {key: value.replace('DIR', self.where)
                        for key, value in keys.items()}
                 for name, keys in sinks.items()}
        self.sims = None if sims is None else Sims(self.where, **sims)
        os.makedirs(self.path('regions'), exist_ok=True)
        self.dlogd = Daemon(self.where, sinks, more, wrapper)
        self.closing = []

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        for close in self.closing:
            close()
        if self.dlogd.process and self.dlogd.process.poll() is None:
            self.dlogd.kill()
        if self.sims:
            self.sims.close()
        if kind:
            print(self.dlogd.said()[-4000:])
        shutil.rmtree(self.where, ignore_errors=True)

    def region(self, name, script):
        """A guest as mkregion's script says."""
        script = 'uuid %s\n%s' % (os.urandom(16).hex(), script)
        subprocess.run([os.path.join(BUILD, 'tests', 'mkregion'),
                        self.path('regions/new')], input=script.encode(),
                       check=True)
        os.rename(self.path('regions/new'), self.path('regions/%s.img' % name))

    def kills(self, times, least=0.05, most=0.8):
        """dlogd dies and is started again."""
        for _ in range(times):
            self.dlogd.start()
            time.sleep(random.uniform(least, most))
            self.dlogd.kill()
        self.dlogd.start()

    def quiet(self):
        """The guests say nothing more: the ledger."""
        self.sims.do('rate 0')
        time.sleep(0.1)
        return self.sims.ledger()


# ---- what was received ----

TEXT = re.compile(r'#([0-9a-f]+)\.([0-9a-f]+):')


class Received:
    """Numbers of the simulator's records by (guest, boot, ring), and how often
    each id came."""

    def __init__(self):
        self.numbers = collections.defaultdict(set)
        self.ids = collections.Counter()
        self.events = []
        self.records = []
        self.keep = False

    def add(self, guest, boot, ring, text, ident):
        found = TEXT.match(text)
        self.ids[ident] += 1
        if not found:
            return
        assert int(found[1], 16) == ring, (text, ring)
        self.numbers[guest, boot, ring].add(int(found[2], 16))

    def add_json(self, message):
        if 'event' in message:
            self.events.append(message)
            self.ids[message['id']] += 1
            return
        if self.keep:
            self.records.append(message)
        assert message['id'].endswith('-%d-%d-%d' % (
            message['boot'], message['ring'], message['position']))
        self.add(message['guest'], message['boot'], message['ring'],
                 message['text'], message['id'])

    def repeats(self):
        return sum(self.ids.values()) - len(self.ids)

    def total(self):
        return sum(len(numbers) for numbers in self.numbers.values())

    def missing(self, ledger):
        """How many records of the ledger are not there; none may be there
        that it does not know."""
        missing = 0
        for where, last in ledger.items():
            got = self.numbers.get(where, set())
            assert not got or (min(got) >= 1 and max(got) <= last), where
            missing += last - len(got)
        assert set(self.numbers) <= set(ledger)
        return missing


def read_json(path, keep=False):
    """Received, and the number of lines that are no JSON."""
    received, bad = Received(), 0
    received.keep = keep
    try:
        with open(path, 'rb') as f:
            data = f.read()
    except FileNotFoundError:
        return received, 0
    for line in data.split(b'\n')[:-1]:
        try:
            message = json.loads(line)
        except ValueError:
            bad += 1
            continue
        received.add_json(message)
    return received, bad


# ---- syslog ----

SYSLOG = re.compile(
    rb'<(?P<pri>\d{1,3})>1 (?P<time>\S+) (?P<host>\S+) (?P<app>\S+) '
    rb'(?P<proc>\S+) (?P<msgid>\S+) '
    rb'\[dlog@32473(?P<data>(?: \w+="(?:[^"\\\]]|\\["\\\]])*")*)\] '
    rb'(?P<msg>.*)', re.DOTALL)
PARAM = re.compile(rb' (\w+)="((?:[^"\\\]]|\\["\\\]])*)"')


def parse_syslog(frame):
    """One message by the grammar of RFC 5424, as bytes."""
    found = SYSLOG.fullmatch(frame)
    assert found, frame
    message = found.groupdict()
    message['data'] = {key.decode(): re.sub(rb'\\(.)', rb'\1', value).decode()
                       for key, value in PARAM.findall(message['data'])}
    return message


class Syslog:
    """Receives by UDP, TCP or TLS.  A connection ends either at the peer's
    end, or by drop(): no more of ours, but all of what has come is read."""

    def __init__(self, kind='tcp', context=None):
        self.context = context
        self.frames = []
        self.so_far, self.parsed = Received(), 0
        self.stalled = threading.Event()
        self.connections = []
        self.served = 0
        self.over = False
        self.kind = kind
        self.socket = socket.socket(
            socket.AF_INET,
            socket.SOCK_DGRAM if kind == 'udp' else socket.SOCK_STREAM)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
        self.socket.bind(('127.0.0.1', 0))
        self.port = self.socket.getsockname()[1]
        if kind != 'udp':
            self.socket.listen()
        self.thread = threading.Thread(
            target=self.datagrams if kind == 'udp' else self.accept,
            daemon=True)
        self.thread.start()

    def datagrams(self):
        while True:
            frame = self.socket.recv(65536)
            if self.over:
                return
            self.frames.append(frame)

    def accept(self):
        while True:
            conn, _ = self.socket.accept()
            if self.over:
                return
            threading.Thread(target=self.serve, args=(conn,),
                             daemon=True).start()

    def serve(self, conn):
        try:
            if self.context:
                conn = self.context.wrap_socket(conn, server_side=True)
        except OSError:
            conn.close()
            return
        self.connections.append(conn)
        self.served += 1
        data = b''
        while True:
            while self.stalled.is_set():
                time.sleep(0.05)
            try:
                more = conn.recv(1 << 16)
            except OSError:
                more = b''
            if not more:
                break
            data = self.cut(data + more)
        self.connections.remove(conn)
        conn.close()

    def cut(self, data):
        """Whole frames, by their octet counts; returns what is left."""
        while True:
            blank = data.find(b' ')
            if blank < 0:
                return data
            end = blank + 1 + int(data[:blank])
            if len(data) < end:
                return data
            self.frames.append(data[blank + 1:end])
            data = data[end:]

    def drop(self):
        for conn in list(self.connections):
            try:
                conn.shutdown(socket.SHUT_WR)
            except OSError:
                pass

    def received(self):
        """All that has come so far; each frame is parsed once."""
        frames = self.frames[self.parsed:]
        self.parsed += len(frames)
        for frame in frames:
            message = parse_syslog(frame)
            data = message['data']
            if message['app'] == b'dlogd':
                self.so_far.events.append(message)
                continue
            self.so_far.add(message['host'].decode(), int(data['boot']),
                            int(data['ring']), message['msg'].decode(),
                            data['id'])
        return self.so_far

    def close(self):
        self.over = True
        if self.kind == 'udp':
            self.socket.sendto(b'', self.socket.getsockname())
        else:
            socket.create_connection(self.socket.getsockname()).close()
        self.thread.join(5)
        self.socket.close()


def make_certificates(where):
    """ca.pem, server.pem for "logs.example", client.pem, other.pem of nobody;
    each with its .key."""
    def run(*args):
        subprocess.run(('openssl',) + args, cwd=where, check=True,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    for name in ('ca', 'other'):
        run('req', '-x509', '-newkey', 'ec', '-pkeyopt',
            'ec_paramgen_curve:P-256', '-nodes', '-days', '2', '-subj',
            '/CN=dlog test ' + name, '-keyout', name + '.key', '-out',
            name + '.pem')
    for name, subject in (('server', 'logs.example'), ('client', 'host7')):
        run('req', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256',
            '-nodes', '-subj', '/CN=' + subject, '-addext',
            'subjectAltName=DNS:' + subject, '-keyout', name + '.key',
            '-out', name + '.csr')
        run('x509', '-req', '-in', name + '.csr', '-CA', 'ca.pem', '-CAkey',
            'ca.key', '-CAcreateserial', '-days', '2', '-copy_extensions',
            'copy', '-out', name + '.pem')


def server_context(where):
    """TLS that asks the client for its certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(os.path.join(where, 'server.pem'),
                            os.path.join(where, 'server.key'))
    context.load_verify_locations(os.path.join(where, 'ca.pem'))
    context.verify_mode = ssl.CERT_REQUIRED
    return context


# ---- NATS ----

class Nats:
    """A nats-server with JetStream, its store in where/jetstream."""

    def __init__(self, where):
        self.where = where
        self.port = free_port()
        self.process = None

    def start(self):
        with open(os.path.join(self.where, 'nats.log'), 'a') as log:
            self.process = subprocess.Popen(
                ['nats-server', '-a', '127.0.0.1', '-p', str(self.port),
                 '-js', '-sd', os.path.join(self.where, 'jetstream')],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log)

        def answers():
            try:
                socket.create_connection(('127.0.0.1', self.port)).close()
                return True
            except OSError:
                return False
        until('nats-server listens', answers, 20)
        return self

    def kill(self):
        self.process.kill()
        self.process.wait()

    def close(self):
        if self.process and self.process.poll() is None:
            self.process.terminate()
            self.process.wait()

    def call(self, subject, request):
        with NatsClient(self.port) as client:
            return client.call(subject, request)

    def received(self, stream='dlog'):
        """Everything in the stream, in its order."""
        received = Received()
        with NatsClient(self.port) as client:
            info = client.call('$JS.API.STREAM.INFO.' + stream, {})
            if 'state' not in info:
                return received
            count = info['state']['messages']
            for subject, message in client.messages(stream, count):
                message = json.loads(message)
                kind = 'event' if 'event' in message else 'log'
                assert subject == 'dlog.%s.%s' % (
                    message['guest'].replace('.', '_'), kind), subject
                received.add_json(message)
        return received


class NatsClient:
    """As much of the NATS client protocol as reading a stream takes."""

    def __init__(self, port):
        self.socket = socket.create_connection(('127.0.0.1', port), 20)
        self.file = self.socket.makefile('rb')
        assert self.file.readline().startswith(b'INFO ')
        self.send('CONNECT {"verbose":false,"pedantic":false,"headers":true,'
                  '"lang":"python","version":"1","protocol":1}')

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.file.close()
        self.socket.close()

    def send(self, line, payload=None):
        data = line.encode() + b'\r\n'
        if payload is not None:
            data += payload + b'\r\n'
        self.socket.sendall(data)

    def next(self):
        """(subject, payload) of the next message."""
        while True:
            line = self.file.readline()
            assert line, 'nats-server has closed'
            word = line.split()
            if word[0] == b'PING':
                self.send('PONG')
            elif word[0] == b'MSG':
                size = int(word[-1])
                return word[1].decode(), self.file.read(size + 2)[:size]
            elif word[0] == b'HMSG':
                head, size = int(word[-2]), int(word[-1])
                return word[1].decode(), self.file.read(size + 2)[head:size]
            else:
                assert word[0] != b'-ERR', line

    def call(self, subject, request):
        self.send('SUB answer 1')
        self.send('UNSUB 1 1')
        payload = json.dumps(request).encode()
        self.send('PUB %s answer %d' % (subject, len(payload)), payload)
        return json.loads(self.next()[1])

    def messages(self, stream, count):
        """By a pull consumer: a server gives up those that it must push."""
        answer = self.call('$JS.API.CONSUMER.CREATE.' + stream, {
            'stream_name': stream,
            'config': {'ack_policy': 'none', 'deliver_policy': 'all',
                       'replay_policy': 'instant'}})
        assert 'error' not in answer, answer
        self.send('SUB delivery 2')
        pull = '$JS.API.CONSUMER.MSG.NEXT.%s.%s' % (stream, answer['name'])
        while count:
            batch = min(count, 2000)
            request = json.dumps({'batch': batch}).encode()
            self.send('PUB %s delivery %d' % (pull, len(request)), request)
            for _ in range(batch):
                yield self.next()
            count -= batch
