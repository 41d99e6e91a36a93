"""An authority of one's own, and what a node says of files that it cannot use."""

import json
import stat
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from cryptography.hazmat.primitives import serialization

from dwcp import certs_x509
from dwcp.certs import Authority
from dwcp.cli import main
from schemas.access_errors import WrongIdentityError
from schemas.errors import ConfigError
from tests.support.certs import CLUSTER, Certificates, expire
from transport.aio.tls import LinkTls, TlsFiles, identity_uri, read_identity
from transport.session.events import CertifiedPeer


@pytest.fixture
def certificates(tmp_path: Path) -> Certificates:
    return Certificates(tmp_path)


def run(*words: str) -> tuple[int, Any]:
    result = CliRunner().invoke(main, ["certs", *words, "--json"])
    return result.exit_code, json.loads(result.stdout.splitlines()[-1])


@pytest.mark.parametrize(
    "peer",
    [
        CertifiedPeer("novacron", "eu-west"),
        CertifiedPeer("novacron", "eu-west", "eu-west-2"),
        CertifiedPeer("a/b region/c", "eu-west", "n/1 ß"),
    ],
)
def test_an_identity_is_read_as_it_was_written(peer: CertifiedPeer) -> None:
    assert read_identity(["urn:other", identity_uri(*peer)]) == peer


@pytest.mark.parametrize(
    "uris",
    [
        [],
        ["urn:other"],
        ["dwcp://novacron"],
        ["dwcp://novacron/region/a/b"],
        ["dwcp://novacron/node/a"],
        ["dwcp://novacron/region/a", "dwcp://novacron/region/b"],
    ],
)
def test_what_names_no_region_or_two_is_nobody(uris: list[str]) -> None:
    with pytest.raises(WrongIdentityError, match="names one region"):
        read_identity(uris)


def test_keys_are_their_owners_only(certificates: Certificates) -> None:
    certificates.authority.issue("eu-west")
    keys = sorted(certificates.authority.folder.glob("*.key"))

    assert [key.name for key in keys] == ["ca.key", "eu-west.key"]
    assert {stat.S_IMODE(key.stat().st_mode) for key in keys} == {0o600}


def test_the_command_makes_issues_rotates_and_shows(tmp_path: Path) -> None:
    folder = ("--dir", str(tmp_path))
    assert run("init", *folder, "--cluster", "novacron")[0] == 0
    _, issued = run("issue", *folder, "--region", "eu-west", "--node", "n/1", "--days", "30")
    (first,) = issued["certificates"]
    _, rotated = run("rotate", *folder)
    (second,) = rotated["certificates"]
    code, shown = run("show", *folder)

    assert (first["cluster"], first["region"], first["node"]) == ("novacron", "eu-west", "n/1")
    assert first["days_left"] == pytest.approx(30, abs=0.1)
    assert second["path"] == first["path"]
    assert second["serial"] != first["serial"]
    assert code == 0
    assert [one["region"] for one in shown["certificates"]] == [None, "eu-west"]
    assert run("show", *folder, "--warn-days", "100")[0] == 1


def test_an_expired_certificate_is_shown_as_such(
    certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    expire(monkeypatch)
    path = certificates.authority.issue("eu-west").path
    code, shown = run("show", "--file", str(path))

    assert code == 1
    assert shown["certificates"][0]["days_left"] == -1.0


def test_a_certificate_ends_with_its_authority(certificates: Certificates) -> None:
    issued = certificates.authority.issue("eu-west", days=36_500)

    assert issued.not_after == certificates.authority.issued()[0].not_after


def test_an_authority_that_has_expired_issues_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = Authority(tmp_path)
    with monkeypatch.context() as patch:
        expire(patch)
        authority.init(CLUSTER)
    with pytest.raises(ConfigError, match="rotate --authority"):
        authority.issue("eu-west")
    authority.rotate_authority()
    assert authority.issue("eu-west").not_after > datetime.now(UTC)


def test_a_crash_in_the_rotation_of_the_authority_loses_neither(
    certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = certificates.authority
    with monkeypatch.context() as patch:
        patch.setattr(certs_x509, "key_pem", None)  # dies between ca.pem and ca.key
        with pytest.raises(TypeError):
            authority.rotate_authority()
    assert len(authority.issued()) == 2
    assert certificates.tls("eu-west").to_json()["error"] == ""


REFUSED: dict[str, tuple[Callable[[Authority], object], str]] = {
    "a second authority": (lambda a: a.init(CLUSTER), "choose another folder"),
    "no authority": (lambda a: Authority(a.folder / "none").issue("r"), "`dwcp certs init`"),
    "no region": (lambda a: a.issue("Not_A_Region"), "a region is named"),
    "nothing issued": (lambda a: a.rotate(), "`dwcp certs issue`"),
    "nothing of that region": (lambda a: a.rotate("eu"), "`dwcp certs issue`"),
    "a folder that is a file": (lambda a: Authority(a.ca_path).init(CLUSTER), "give a folder"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_done_is_said_with_a_remedy(case: str, certificates: Certificates) -> None:
    act, remedy = REFUSED[case]

    with pytest.raises(ConfigError, match=remedy):
        act(certificates.authority)


def test_an_authority_whose_key_is_another_s_is_none(certificates: Certificates) -> None:
    authority = certificates.authority
    authority.key_path.write_bytes(certificates.stranger().key_path.read_bytes())

    with pytest.raises(ConfigError, match="not of one authority"):
        authority.issue("eu-west")


def swap(files: TlsFiles, **others: Path) -> TlsFiles:
    return TlsFiles(**{"ca": files.ca, "cert": files.cert, "key": files.key, **others})


def test_a_node_names_the_file_that_it_cannot_use(
    certificates: Certificates, tmp_path: Path
) -> None:
    good, other = certificates.files("eu-west"), certificates.files("us-east")
    garbage = tmp_path / "garbage.pem"
    garbage.write_text("no PEM")
    cases = {
        "link.tls.ca": [swap(good, ca=tmp_path / "none"), swap(good, ca=garbage)],
        "link.tls.cert": [
            swap(good, cert=tmp_path / "none"),
            swap(good, cert=garbage),
            swap(good, cert=good.ca),  # names no region
            other,  # another region's
        ],
        "link.tls.key": [
            swap(good, key=tmp_path / "none"),
            swap(good, key=garbage),
            swap(good, key=other.key),
        ],
    }
    for field, broken in cases.items():
        for files in broken:
            with pytest.raises(ConfigError) as caught:
                LinkTls(files, CLUSTER, "eu-west")
            assert caught.value.field == field
    assert LinkTls(good, CLUSTER, "eu-west").to_json()["error"] == ""


def test_a_certificate_of_another_federation_is_refused_at_the_start(
    certificates: Certificates,
) -> None:
    with pytest.raises(ConfigError, match="dwcp://test/region/eu-west, this is dwcp://novacron"):
        LinkTls(certificates.files("eu-west"), "novacron", "eu-west")


def test_an_encrypted_key_is_refused_and_nobody_is_asked_for_a_password(
    certificates: Certificates,
) -> None:
    files = certificates.files("eu-west")
    key = serialization.load_pem_private_key(files.key.read_bytes(), None)
    files.key.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"secret"),
        )
    )
    with pytest.raises(ConfigError, match="the key is encrypted"):
        LinkTls(files, CLUSTER, "eu-west")
