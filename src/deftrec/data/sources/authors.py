"""The four data sets of the DeftRec authors, from their repository; the published figures are measured on them.

H. Qu, W. Fan and S. Lin, "Generative Recommendation with Continuous-Token Diffusion", arXiv:2504.12007.
"""

from collections.abc import Mapping
from pathlib import Path

from deftrec.data.prepare import Raw
from deftrec.data.sources.base import About, RemoteFile, Source
from deftrec.data.sources.reference import ITEMS, TEST, TRAIN, USERS, read_reference

HOMEPAGE = "https://github.com/Quhaoh233/DeftRec"
REVISION = "86a0168be81bf72728a201215ba3a156e38bf0e1"
HOST = f"https://raw.githubusercontent.com/Quhaoh233/DeftRec/{REVISION}/data/"
CITATION = "Qu, Fan and Lin, arXiv:2504.12007"

FILES = (TRAIN, TEST, ITEMS, USERS)

SHA256 = {
    "software": (
        "5fd10186d1af46d8ab63561b90ee49c3e99a54fc586a2be9fc3a3caefca05490",
        "5d8aa93c381cb671d43cd4cb593e7d8a2a83a82506d0f64fb3a7ecbd3c805562",
        "35db85f0dd27ce2d0da822e0a46e0ad1fce3a35871e850a94e15eafd1e8a7450",
        "dccbac5032c99fd5080bd207ac75b0f87d5f7a8acf25d7192a5ef5407c379cbc",
    ),
    "lastfm": (
        "c2427f06684037b129e9cffd405d30a5c9455bd09ec19086386259f1629558ed",
        "5a19891a2f55ea4707dfc830ac70ba6246452aeca0e98a718d08b72506b8359d",
        "dee4862c3929784aa440f735446e2af10cdf47ab9a9815e090ab506940d9a618",
        "5f504df839a65c636009b96259def4000d5048eb257d854d6ea7567d5c82ca19",
    ),
    "beauty": (
        "7a98054cbfdd67ba41497c6a14a2c84b8fcfe378bc6e4be85626cf0c531c12a3",
        "c058d1dde7764871833b591a794d7b3799f1dd22440915182fedf631a0a7f31e",
        "12b48ba6ed87af5aedd4cd3f4c3d0386326cab79c67f89deb8a3a3980139583d",
        "a4a4ec175f036979b8ecf65c528f143a312d87453d89c7152bd6d8ac933c0586",
    ),
    "ml1m": (
        "724bf31fead3d5fe548cea925dae7387a74b379bffc25ca11914c6302b6a322d",
        "03e68d846d2722b3dcaa3751b5afec3fbe94ddf2f21995963eb106caf84c82bc",
        "aed4ad6246aa4161ee72f24c1aab4182606dd9dfdbba51db2f5331225d2f9db3",
        "57306182636ed803b3032f069a87793759a0d5c6ff4b5f248fc07dd56e0d000f",
    ),
}
"""SHA-256 of each data set's `FILES`, from the copies that our figures are measured on."""


class Authors(Source):
    """One data set of the authors: its key in `SHA256`, the data behind it, and `domain` and `size` of `About`."""

    def __init__(self, name: str, origin: str, domain: str, size: str) -> None:
        self.about = About(
            name=name,
            title=f"{origin}: {domain}, as DeftRec's authors prepared them",
            size=size,
            licence=f"none stated by the repository; made from {origin}",
            citation=CITATION,
            homepage=HOMEPAGE,
            domain=domain,
            files=tuple(
                RemoteFile(url=f"{HOST}{name}/{file}", checksum=f"sha256:{digest}")
                for file, digest in zip(FILES, SHA256[name], strict=True)
            ),
        )

    def read(self, files: Mapping[str, Path]) -> Raw:
        """Read the files, which are in one directory; see `Source.read`."""
        return read_reference(files[TEST].parent)


AUTHORS = (
    Authors("software", "Amazon reviews", "software", "9,322 interactions, 1,351 users, 778 items; .2 MB"),
    Authors(
        "lastfm",
        "HetRec 2011 Last.fm (non-commercial)",
        "music artists",
        "52,670 interactions, 1,091 users, 3,685 artists; .6 MB",
    ),
    Authors("beauty", "Amazon reviews", "beauty products", "198,502 interactions, 22,363 users, 12,101 items; 3.6 MB"),
    Authors(
        "ml1m", "MovieLens 1M (research only)", "movies", "835,789 interactions, 6,038 users, 3,307 movies; 7.2 MB"
    ),
)
