"""Texts of certificates: all of them or none."""

import re
from pathlib import Path

import pytest

from nodespan.runtime.pem import PEMError, certificate_blocks, check_certificate_file
from tests.support.certificates import Authority

ONE, TWO = Authority("one").pem.decode(), Authority("two").pem.decode()
KEY = "-----BEGIN PRIVATE KEY-----\nMAA=\n-----END PRIVATE KEY-----\n"


def test_what_stands_between_certificates_does_not_matter() -> None:
    text = f"\ufeff# the first\n{ONE}\n-- \n===\n{KEY}  {TWO}-----\nthe end"
    assert certificate_blocks(text) == (ONE, TWO)
    assert certificate_blocks(ONE.replace("\n", "\r\n")) == (ONE,)
    assert certificate_blocks("") == certificate_blocks(KEY) == ()


def test_wherever_a_copy_is_cut_off_it_is_noticed() -> None:
    assert [left for left in range(1, len(TWO) - 1) if not _is_noticed(ONE + TWO[:left])] == []


def _is_noticed(text: str) -> bool:
    try:
        certificate_blocks(text)
    except PEMError as error:
        return re.search(r"line \d+", str(error)) is not None
    return False


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (ONE[:300] + "\n" + TWO, "the certificate that begins in line 1 has no end"),
        (ONE.split("\n", 1)[1] + TWO, "has no beginning"),
        (KEY + ONE.replace("END CERTIFICATE", "END PRIVATE KEY"), "has no beginning"),
        (ONE.replace("BEGIN CERTIFICATE-----", "BEGIN CERT"), "line 1 is cut off or damaged"),
        (KEY[:40], "the private key that begins in line 1 has no end"),
    ],
)
def test_the_damage_is_reported_with_its_line(text: str, message: str) -> None:
    with pytest.raises(PEMError, match=message):
        certificate_blocks(text)


def test_a_file_is_whole_or_refused(tmp_path: Path) -> None:
    path = tmp_path / "ca.pem"
    path.write_text(ONE + KEY)
    check_certificate_file(path)
    path.write_text(ONE + TWO[:20])
    with pytest.raises(PEMError, match="is cut off"):
        check_certificate_file(path)
    path.write_bytes(b"\n" * (4 * 1024 * 1024 + 1))
    with pytest.raises(OSError, match="more than 4,194,304 bytes"):
        check_certificate_file(path)
