"""Azure's sizes of virtual machines: cores, memory and GPUs by name. Data, and a pure look-up.

Source: the size tables of Azure's documentation. ``local.<cores>x<gb>`` names a size of one's own.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

LOCAL_FORM = "local.<cores>x<gb>"
DEFAULT = "Standard_DS3_v2"
_LOCAL = re.compile(r"local\.(\d{1,4})x(\d{1,5}(?:\.\d{1,3})?)", re.IGNORECASE)
_CORES_IN_NAME = re.compile(r"(?:standard|basic)_[a-z]+(\d{1,3})(?:-\d+)?[a-z]*(?:_\w+)?", re.IGNORECASE)
_USUAL_GB_PER_CORE = 4.0


@dataclass(frozen=True)
class VmSize:
    """One kind of machine. ``memory_gb``: in units of 2**30 bytes. ``known``: read from the table, not guessed."""

    name: str
    cores: int
    memory_gb: float
    gpus: int = 0
    known: bool = True


# A line for each family: its sizes as name:cores:memory or name:cores:memory:gpus.
_TABLE = """
A1_v2:1:2 A2_v2:2:4 A4_v2:4:8 A8_v2:8:16 A2m_v2:2:16 A4m_v2:4:32 A8m_v2:8:64
B1s:1:1 B1ms:1:2 B2s:2:4 B2ms:2:8 B4ms:4:16 B8ms:8:32 B12ms:12:48 B16ms:16:64 B20ms:20:80
D1:1:3.5 D2:2:7 D3:4:14 D4:8:28 D11:2:14 D12:4:28 D13:8:56 D14:16:112
D1_v2:1:3.5 D2_v2:2:7 D3_v2:4:14 D4_v2:8:28 D5_v2:16:56 D11_v2:2:14 D12_v2:4:28 D13_v2:8:56 D14_v2:16:112 D15_v2:20:140
DS1_v2:1:3.5 DS2_v2:2:7 DS3_v2:4:14 DS4_v2:8:28 DS5_v2:16:56
DS11_v2:2:14 DS12_v2:4:28 DS13_v2:8:56 DS14_v2:16:112 DS15_v2:20:140
D2_v3:2:8 D4_v3:4:16 D8_v3:8:32 D16_v3:16:64 D32_v3:32:128 D48_v3:48:192 D64_v3:64:256
D2s_v3:2:8 D4s_v3:4:16 D8s_v3:8:32 D16s_v3:16:64 D32s_v3:32:128 D48s_v3:48:192 D64s_v3:64:256
D2_v4:2:8 D4_v4:4:16 D8_v4:8:32 D16_v4:16:64 D2s_v4:2:8 D4s_v4:4:16 D8s_v4:8:32 D16s_v4:16:64 D32s_v4:32:128
D2ds_v4:2:8 D4ds_v4:4:16 D8ds_v4:8:32 D16ds_v4:16:64 D32ds_v4:32:128
D2as_v4:2:8 D4as_v4:4:16 D8as_v4:8:32 D16as_v4:16:64 D32as_v4:32:128
D2s_v5:2:8 D4s_v5:4:16 D8s_v5:8:32 D16s_v5:16:64 D32s_v5:32:128 D2ds_v5:2:8 D4ds_v5:4:16 D8ds_v5:8:32 D16ds_v5:16:64
D2as_v5:2:8 D4as_v5:4:16 D8as_v5:8:32 D16as_v5:16:64 D32as_v5:32:128
E2_v3:2:16 E4_v3:4:32 E8_v3:8:64 E16_v3:16:128 E32_v3:32:256 E48_v3:48:384 E64_v3:64:432
E2s_v3:2:16 E4s_v3:4:32 E8s_v3:8:64 E16s_v3:16:128 E32s_v3:32:256 E48s_v3:48:384 E64s_v3:64:432
E2ds_v4:2:16 E4ds_v4:4:32 E8ds_v4:8:64 E16ds_v4:16:128 E32ds_v4:32:256
E2s_v5:2:16 E4s_v5:4:32 E8s_v5:8:64 E16s_v5:16:128 E32s_v5:32:256
F1s:1:2 F2s:2:4 F4s:4:8 F8s:8:16 F16s:16:32
F2s_v2:2:4 F4s_v2:4:8 F8s_v2:8:16 F16s_v2:16:32 F32s_v2:32:64 F48s_v2:48:96 F64s_v2:64:128 F72s_v2:72:144
G1:2:28 G2:4:56 G3:8:112 G4:16:224 G5:32:448 H8:8:56 H16:16:112 HB60rs:60:228 HB120rs_v2:120:456 HC44rs:44:352
M8ms:8:218.75 M16ms:16:437.5 M32ms:32:875 M64s:64:1024 M64ms:64:1792 M128s:128:2048
NC6:6:56:1 NC12:12:112:2 NC24:24:224:4 NC24r:24:224:4
NC6_v2:6:112:1 NC12_v2:12:224:2 NC24_v2:24:448:4 NC24rs_v2:24:448:4
NC6s_v2:6:112:1 NC12s_v2:12:224:2 NC24s_v2:24:448:4 NC6s_v3:6:112:1 NC12s_v3:12:224:2 NC24s_v3:24:448:4 NC24rs_v3:24:448:4
NC4as_T4_v3:4:28:1 NC8as_T4_v3:8:56:1 NC16as_T4_v3:16:110:1 NC64as_T4_v3:64:440:4
NC24ads_A100_v4:24:220:1 NC48ads_A100_v4:48:440:2 NC96ads_A100_v4:96:880:4
NC40ads_H100_v5:40:320:1 NC80adis_H100_v5:80:640:2
ND6s:6:112:1 ND12s:12:224:2 ND24s:24:448:4 ND24rs:24:448:4 ND40rs_v2:40:672:8 ND96asr_v4:96:900:8
ND96amsr_A100_v4:96:1900:8 ND96isr_H100_v5:96:1900:8
NV6:6:56:1 NV12:12:112:2 NV24:24:224:4 NV12s_v3:12:112:1 NV24s_v3:24:224:2 NV48s_v3:48:448:4
NV6ads_A10_v5:6:55:1 NV12ads_A10_v5:12:110:1 NV18ads_A10_v5:18:220:1 NV36ads_A10_v5:36:440:1 NV72ads_A10_v5:72:880:2
"""


def _read(entry: str) -> VmSize:
    name, cores, memory, *gpus = entry.split(":")
    return VmSize(f"Standard_{name}", int(cores), float(memory), int(gpus[0]) if gpus else 0)


ALL = tuple(_read(entry) for entry in _TABLE.split())
_BY_NAME = {size.name.lower(): size for size in ALL}


def find(name: str) -> VmSize | None:
    """The size of that name, in any case; None when there is none and its name does not tell its cores either.

    One that the table does not have is guessed from the number in its name, 4 GB a core; ``known`` is false then.
    """
    known = _BY_NAME.get(name.lower())
    if known is not None:
        return known
    own = _LOCAL.fullmatch(name)
    if own is not None and int(own[1]) > 0 and float(own[2]) > 0:
        return VmSize(name.lower(), int(own[1]), float(own[2]))
    guessed = _CORES_IN_NAME.fullmatch(name)
    if guessed is not None and int(guessed[1]) > 0:
        return VmSize(name, int(guessed[1]), int(guessed[1]) * _USUAL_GB_PER_CORE, known=False)
    return None
