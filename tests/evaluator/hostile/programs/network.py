"""Programs that would talk to somebody. `world` names listeners that do answer, so only the sandbox is in the way."""

from hostile.program import PASSED, attack, watch

PROGRAMS = (
    attack("connect over TCP", "import socket; socket.create_connection(('127.0.0.1', world['port']), 2)"),
    attack("connect over TCP of version 6", "import socket; socket.create_connection(('::1', world['port']), 2)"),
    attack("fetch a page", "import urllib.request; urllib.request.urlopen(f'http://127.0.0.1:{world[\"port\"]}/', timeout=2)"),
    attack("listen over TCP", "import socket; socket.create_server(('127.0.0.1', 0))"),
    attack("send a datagram", "import socket; socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('127.0.0.1', world['port']))"),
    attack("look a name up", "import socket; socket.getaddrinfo('localhost', 80); socket.socket()"),
    attack("connect to an abstract socket", "import socket; socket.socket(socket.AF_UNIX).connect('\\0' + world['abstract'])"),
    attack("connect to a socket in the file system", "import socket; socket.socket(socket.AF_UNIX).connect(world['socket'])"),
    attack(
        "a datagram to a socket in the file system, by way of a pair",
        "import socket; socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)[0].sendto(b'x', world['datagrams'])",
    ),
    attack(
        "a datagram to an abstract socket, by way of a pair",
        """
        import socket
        pair = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        pair[0].sendto(b"x", "\\0" + world["abstract"] + "-datagrams")
    """,
    ),
    watch(
        "a pair of sockets of one's own, which asyncio needs",
        "import asyncio; asyncio.run(asyncio.sleep(0)); print('held')",
        PASSED,
    ),
    attack("a pair of sockets of the cluster's protocol", "import socket; socket.socketpair(30, socket.SOCK_STREAM)"),
    attack("bind an abstract socket", "import socket; socket.socket(socket.AF_UNIX).bind('\\0taco-stream-hostile')"),
    attack("a netlink socket", "import socket; socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)"),
    attack("a packet socket", "import socket; socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)"),
    attack("a socket to the host of a virtual machine", "import socket; socket.socket(socket.AF_VSOCK)"),
    attack("a socket to the kernel's ciphers", "import socket; socket.socket(socket.AF_ALG, socket.SOCK_SEQPACKET)"),
)  # fmt: skip
