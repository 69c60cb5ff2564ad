"""Shared libraries without what only debuggers read."""

import struct
from pathlib import Path

_MAGIC = b"\x7fELF\x02\x01"
"""64 bits, little-endian."""
_HEADER, _SEGMENT = struct.Struct("<16sHHIQQQIHHHHHH"), struct.Struct("<IIQQQQQQ")
"""Elf64_Ehdr and Elf64_Phdr of the ELF specification."""


def strip(library: Path) -> int:
    """Cut off what lies behind the last segment of a library, and return how many bytes that was; anything else is left as it is.

    The loader maps segments alone. Behind them lie the symbols and debugging information that builders of wheels leave in, for uvloop
    nine tenths of the file, and at last the table of sections, of which the header then must say that there is none.
    """
    content = library.read_bytes()
    if not content.startswith(_MAGIC):
        return 0
    header = list(_HEADER.unpack_from(content))
    first, size, count = header[5], header[9], header[10]
    segments = [_SEGMENT.unpack_from(content, first + number * size) for number in range(count)]
    end: int = max([first + size * count, *(offset + length for _, _, offset, _, _, length, _, _ in segments)])
    header[6] = header[11] = header[12] = header[13] = 0
    library.write_bytes(_HEADER.pack(*header) + content[_HEADER.size : end])
    return len(content) - end
