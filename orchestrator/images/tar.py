"""The tar stream of a layer as a row of entries: ustar, GNU and pax headers, sparse files, extended attributes.

tarfile would do the headers, but it drops extended attributes (a file's capabilities are one), and half of a pull of
small files was its work. POSIX.1-2017 pax(1), "ustar Interchange Format" and "pax Header Block"; GNU tar manual,
"Basic Tar Format" and "Sparse Formats". Raises Malformed, with the place in the stream, for what is no tar.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

BLOCK = 512
LONGEST_HEADER = 1 << 20  # bytes of one pax or long-name header
MOST_PIECES = 100_000  # of one sparse file

FILE, HARDLINK, SYMLINK, CHARACTER, BLOCKDEVICE, DIRECTORY, FIFO = b"0", b"1", b"2", b"3", b"4", b"5", b"6"
_PLAIN = {b"\0": FILE, b"7": FILE, b"S": FILE}
_KINDS = frozenset((FILE, HARDLINK, SYMLINK, CHARACTER, BLOCKDEVICE, DIRECTORY, FIFO))

Read = Callable[[int], bytes]  # up to so many bytes, b"" at the end


class Malformed(ValueError):
    """No tar, or one that ends too early."""


@dataclass(slots=True)
class Entry:
    """`size`: bytes of data that follow in the stream. `pieces`, of a sparse file: (offset, length) of each piece of
    the data; its whole length is `length`. Times are nanoseconds since the epoch."""

    name: str
    kind: bytes
    mode: int
    uid: int
    gid: int
    size: int
    mtime: int
    target: str
    device: tuple[int, int]
    xattrs: dict[str, bytes] = field(default_factory=dict)
    pieces: tuple[tuple[int, int], ...] | None = None
    length: int = 0


class Reader:
    """Iterates over the entries; the data of each is read with `data` before the next is asked for."""

    def __init__(self, read: Read) -> None:
        self._read = read
        self._left = 0  # of the present entry's data
        self._padding = 0
        self._global: dict[str, bytes] = {}
        self.position = 0

    def __iter__(self) -> Iterator[Entry]:
        pax: dict[str, bytes] = dict(self._global)
        sparse: list[tuple[int, int]] = []
        while (header := self._header()) is not None:
            kind = header[156:157]
            if kind in (b"x", b"X"):
                pax |= self._pax(self._long(header), sparse)
            elif kind == b"g":
                self._global |= self._pax(self._long(header), [])
                pax = self._global | pax
            elif kind in (b"L", b"K"):
                pax.setdefault("path" if kind == b"L" else "linkpath", self._long(header).rstrip(b"\0"))
            elif (kind := _PLAIN.get(kind, kind)) in _KINDS:
                yield self._entry(header, kind, pax, sparse)
                self._skip()
                pax, sparse = dict(self._global), []
            else:  # V, M, D … of GNU tar: nothing that a layer could mean
                self._begin(_number(header[124:136], "size", self.position))
                self._skip()
                pax, sparse = dict(self._global), []

    def data(self, most: int) -> bytes:
        """The next bytes of the entry's data, b"" at its end."""
        if not self._left:
            return b""
        piece = self._read(min(most, self._left))
        if not piece:
            raise Malformed(f"it ends in the middle of a file, after {self.position} bytes")
        self._left -= len(piece)
        self.position += len(piece)
        return piece

    def rest(self) -> None:
        """What follows the end mark: read to the end, for the sake of its digest."""
        while piece := self._read(1 << 16):
            self.position += len(piece)

    def _header(self) -> bytes | None:
        block = self._exactly(BLOCK)
        if block is None or block.count(0) == BLOCK:  # two blocks of zeros end it; one, or none, is taken too
            return None
        said = _number(block[148:156], "checksum", self.position)
        summed = sum(block) - sum(block[148:156]) + 8 * 32
        if said != summed and said != _signed(block):
            raise Malformed(f"there is no tar header at byte {self.position - BLOCK}")
        return block

    def _entry(self, header: bytes, kind: bytes, pax: dict[str, bytes], sparse: list[tuple[int, int]]) -> Entry:
        at = self.position
        size = _decimal(pax["size"], at) if "size" in pax else _number(header[124:136], "size", at)
        if kind not in (FILE,):
            size = 0 if kind != DIRECTORY else size
        name = pax.get("GNU.sparse.name") or pax.get("path") or _name(header)
        target = pax.get("linkpath") or _text(header[157:257])
        mtime = _time(pax["mtime"], at) if "mtime" in pax else _number(header[136:148], "mtime", at) * 10**9
        entry = Entry(
            name.decode("utf-8", "surrogateescape"),
            kind,
            _number(header[100:108], "mode", at) & 0o7777,
            _decimal(pax["uid"], at) if "uid" in pax else _number(header[108:116], "uid", at),
            _decimal(pax["gid"], at) if "gid" in pax else _number(header[116:124], "gid", at),
            size,
            mtime,
            target.decode("utf-8", "surrogateescape"),
            (_number(header[329:337], "major", at), _number(header[337:345], "minor", at)),
            {key[13:]: value for key, value in pax.items() if key.startswith("SCHILY.xattr.")},
            length=size,
        )
        if name.endswith(b"/") and kind == FILE and header[156:157] in (b"\0", b"0"):
            entry.kind = DIRECTORY  # as tar did before there was a type for it
        self._begin(size)
        if kind == FILE:
            self._sparse(entry, header, pax, sparse)
        return entry

    def _sparse(self, entry: Entry, header: bytes, pax: dict[str, bytes], pairs: list[tuple[int, int]]) -> None:
        """The four ways in which GNU tar writes a sparse file."""
        at = self.position
        if header[156:157] == b"S":
            pairs, entry.length = self._old_map(header), _number(header[483:495], "real size", at)
        elif pax.get("GNU.sparse.major") == b"1":
            pairs, entry.length = self._map_in_data(), _decimal(pax["GNU.sparse.realsize"], at)
        elif "GNU.sparse.map" in pax:
            numbers = [_decimal(one, at) for one in pax["GNU.sparse.map"].split(b",")]
            pairs, entry.length = (
                list(zip(numbers[::2], numbers[1::2], strict=False)),
                _decimal(pax.get("GNU.sparse.size", b"0"), at),
            )
        elif "GNU.sparse.size" in pax:
            entry.length = _decimal(pax["GNU.sparse.size"], at)
        else:
            return
        end = 0
        for offset, length in pairs:
            if offset < end:
                raise Malformed(f"the map of the sparse file {entry.name!r} is not in order")
            end = offset + length
        if end > entry.length or sum(length for _, length in pairs) != self._left or len(pairs) > MOST_PIECES:
            raise Malformed(f"the map of the sparse file {entry.name!r} does not fit its data")
        entry.pieces, entry.size = tuple(pairs), self._left

    def _old_map(self, header: bytes) -> list[tuple[int, int]]:
        blocks, pairs = header[386:482], []
        extended = header[482]
        while True:
            for start in range(0, len(blocks) - 23, 24):
                if blocks[start : start + 24].strip(b"\0"):
                    offset = _number(blocks[start : start + 12], "offset", self.position)
                    pairs.append((offset, _number(blocks[start + 12 : start + 24], "length", self.position)))
            if not extended or len(pairs) > MOST_PIECES:
                return pairs
            more = self._exactly(BLOCK) or b"\0" * BLOCK
            blocks, extended = more[:504], more[504]

    def _map_in_data(self) -> list[tuple[int, int]]:
        """pax 1.0: a block, or several, of decimal numbers before the data."""
        text, numbers = b"", []
        while True:
            lines = text.split(b"\n")
            if len(lines) > 1:
                count = _decimal(lines[0], self.position)
                if count > MOST_PIECES:
                    raise Malformed(f"a sparse file at byte {self.position} has {count} pieces")
                if len(lines) > 2 * count + 1:
                    numbers = [_decimal(line, self.position) for line in lines[1 : 2 * count + 1]]
                    return list(zip(numbers[::2], numbers[1::2], strict=True))
            block = b""
            while len(block) < BLOCK:
                piece = self.data(BLOCK - len(block))
                if not piece:
                    raise Malformed(f"a sparse file at byte {self.position} has no whole map")
                block += piece
            text += block
            if len(text) > LONGEST_HEADER * 4:
                raise Malformed(f"a sparse file at byte {self.position} has too long a map")

    def _long(self, header: bytes) -> bytes:
        """The data of a header that is about the next entry."""
        size = _number(header[124:136], "size", self.position)
        if size > LONGEST_HEADER:
            raise Malformed(f"a header at byte {self.position} is {size} bytes long")
        self._begin(size)
        found = bytearray()
        while piece := self.data(size):
            found += piece
        self._skip()
        return bytes(found)

    def _pax(self, data: bytes, sparse: list[tuple[int, int]]) -> dict[str, bytes]:
        """Records "LENGTH KEY=VALUE\\n". The pieces of sparse format 0.0 repeat their keys: they go into `sparse`."""
        found: dict[str, bytes] = {}
        start, offset = 0, 0
        while start < len(data) and data[start]:
            blank = data.find(b" ", start, start + 20)
            length = _decimal(data[start:blank], self.position) if blank > 0 else 0
            record = data[blank + 1 : start + length]
            key, equals, value = record[:-1].partition(b"=")
            if not length or not equals or record[-1:] != b"\n" or start + length > len(data):
                raise Malformed(f"a pax header before byte {self.position} is broken")
            name = key.decode("utf-8", "surrogateescape")
            if name == "GNU.sparse.offset":
                offset = _decimal(value, self.position)
            elif name == "GNU.sparse.numbytes":
                sparse.append((offset, _decimal(value, self.position)))
            else:
                found[name] = value
            start += length
        return found

    def _begin(self, size: int) -> None:
        self._left, self._padding = size, -size % BLOCK

    def _skip(self) -> None:
        while self.data(1 << 16):
            pass
        if self._padding:
            self._exactly(self._padding)
            self._padding = 0

    def _exactly(self, count: int) -> bytes | None:
        """So many bytes; None where the stream ends before them."""
        block = self._read(count)
        while 0 < len(block) < count:
            more = self._read(count - len(block))
            if not more:
                raise Malformed(f"it ends in the middle of a header, after {self.position + len(block)} bytes")
            block += more
        self.position += len(block)
        return block or None


def _name(header: bytes) -> bytes:
    name, prefix = _text(header[:100]), _text(header[345:500])
    ustar = header[257:263] == b"ustar\0"  # GNU's magic has blanks, and other things where the prefix would be
    return prefix + b"/" + name if ustar and prefix else name


def _text(field: bytes) -> bytes:
    return field.partition(b"\0")[0]


def _number(field: bytes, what: str, at: int) -> int:
    """Octal digits, or GNU's and star's binary form for what does not fit into them."""
    if field[0] & 0x80:
        value = int.from_bytes(field, "big") & ((1 << (8 * len(field) - 1)) - 1)
        return value - (1 << (8 * len(field) - 1)) if field[0] == 0xFF else value
    digits = field.replace(b"\0", b" ").strip()
    try:
        value = int(digits, 8) if digits else 0
    except ValueError:
        value = -1
    if value < 0:
        raise Malformed(f"the {what} in the header before byte {at} is {digits!r}")
    return value


def _decimal(text: bytes, at: int) -> int:
    if not text.isdigit() or len(text) > 20:
        raise Malformed(f"a number in the header before byte {at} is {text[:24]!r}")
    return int(text)


def _time(text: bytes, at: int) -> int:
    """Seconds with a fraction → nanoseconds, exactly."""
    whole, _, part = text.removeprefix(b"-").partition(b".")
    seconds = _decimal(whole or b"0", at) * 10**9 + _decimal(part[:9].ljust(9, b"0"), at)
    return -seconds if text.startswith(b"-") else seconds


def _signed(block: bytes) -> int:
    """The checksum as some old tars made it, over signed bytes."""
    whole = block[:148] + b" " * 8 + block[156:]
    return sum(whole) - 256 * sum(byte > 127 for byte in whole)
