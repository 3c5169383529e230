"""Settings: where they come from, which are refused, and that secrets stay secret."""

import pytest

from largesse import settings
from largesse.cli import run
from largesse.errors import Rejected
from largesse.settings import SETTINGS, Settings, load, shown, sources


def problems(environ: dict[str, str], toml: bytes | None = None) -> list[str]:
    with pytest.raises(Rejected) as refused:
        load(environ, toml)
    assert refused.value.code == "settings_invalid"
    found = refused.value.facts["problems"]
    assert isinstance(found, list)
    return found


def test_without_a_word_every_setting_has_its_default() -> None:
    found = load({}, None)
    assert found.port == 8080
    assert found.data == "largesse-data"
    assert found.creator_share_bps == 5_000
    assert found.public_url == "http://127.0.0.1:8080"


def test_the_environment_wins_over_the_file_and_the_file_over_the_default() -> None:
    toml = b'port = 9000\nhost = "10.0.0.1"\n'
    found = load({"LARGESSE_PORT": "9001", "PATH": "/bin"}, toml)
    assert (found.host, found.port) == ("10.0.0.1", 9001)
    came_from = sources({"LARGESSE_PORT": "9001"}, toml)
    assert came_from["port"] == "LARGESSE_PORT"
    assert came_from["host"] == "largesse.toml"
    assert came_from["data"] == "default"


def test_every_kind_of_value_is_read_from_the_text_of_the_environment() -> None:
    found = load(
        {
            "LARGESSE_WORKER": "false",
            "LARGESSE_ACCESS_LOG": "1",
            "LARGESSE_TRUSTED_PROXIES": "10.0.0.0/8, ::1,",
            "LARGESSE_LOG_LEVEL": " debug ",
        },
        None,
    )
    assert found.worker is False
    assert found.access_log is True
    assert found.trusted_proxies == ("10.0.0.0/8", "::1")
    assert found.log_level == "debug"


def test_all_that_is_wrong_is_named_at_once() -> None:
    found = problems(
        {"LARGESSE_PORT": "70000", "LARGESSE_WORKER": "perhaps"},
        b'creator_share_bps = 10001\nlog_level = "loud"\n',
    )
    assert len(found) == 4
    assert any(line.startswith("LARGESSE_PORT: ") and "70000" in line for line in found)
    assert any(line.startswith("LARGESSE_WORKER: ") for line in found)
    assert any(line.startswith("largesse.toml: creator_share_bps: ") for line in found)
    assert any(line.startswith("largesse.toml: log_level: ") for line in found)


def test_an_unknown_name_is_refused_with_the_nearest_one() -> None:
    assert problems({"LARGESSE_PROT": "1"}) == [
        "LARGESSE_PROT: there is no such setting; did you mean LARGESSE_PORT?"
    ]
    assert problems({}, b"prot = 1") == [
        "largesse.toml: prot: there is no such setting; did you mean port?"
    ]


def test_a_variable_of_our_tests_is_no_setting() -> None:
    assert load({"LARGESSE_TEST_BROWSER": "0"}, None) == load({}, None)


@pytest.mark.parametrize("toml", [b"port = ", b"\xff\xfe", b"[port]\nx = 1"])
def test_a_file_that_is_no_toml_or_has_other_shapes_is_refused(toml: bytes) -> None:
    assert all(line.startswith("largesse.toml: ") for line in problems({}, toml))


def test_text_is_no_number_in_the_file() -> None:
    assert "Expected `int`" in problems({}, b'port = "8080"')[0]


@pytest.mark.parametrize(
    "variable_and_value",
    [
        ("LARGESSE_TRUSTED_PROXIES", "everyone"),
        ("LARGESSE_PUBLIC_URL", "ftp://example.test"),
        ("LARGESSE_PUBLIC_URL", "https://example.test/path"),
        ("LARGESSE_ADULT_AGE", "17"),
        ("LARGESSE_SMTP_HOST", "mail.example.test"),
        ("LARGESSE_DATA", ""),
        ("LARGESSE_WORKERS", "0"),
        ("LARGESSE_WORKERS", "65"),
        ("LARGESSE_SECRET", "too short to guard anything"),
    ],
)
def test_a_value_that_would_do_harm_later_is_refused_now(
    variable_and_value: tuple[str, str],
) -> None:
    assert len(problems(dict([variable_and_value]))) == 1


def test_a_secret_is_never_shown_nor_told_in_a_refusal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    [password] = [setting for setting in SETTINGS if setting.name == "smtp_password"]
    assert shown(password, "hunter2") == "(set)"
    assert "1234567" not in str(problems({}, b"smtp_password = 1234567"))

    monkeypatch.setenv("LARGESSE_SMTP_PASSWORD", "hunter2")
    monkeypatch.setenv("LARGESSE_DATABASE_URL", "postgresql://ana:hunter2@db/records")
    assert run(["settings"]) == 0
    printed = capsys.readouterr().out
    assert "LARGESSE_SMTP_PASSWORD" in printed
    assert "hunter2" not in printed
    # Whole, on a terminal of any width.
    assert "LARGESSE_DATABASE_URL = postgresql://ana:***@db/records  [environment]" in printed


@pytest.mark.parametrize(
    ("url", "printed"),
    [
        ("postgresql://ana:hunter2@db:5432/records", "postgresql://ana:***@db:5432/records"),
        ("postgresql://ana:hun@ter/2@db/records", "postgresql://ana:***@db/records"),
        (
            "postgresql://db/records?password=hunter2&x=1",
            "postgresql://db/records?password=***&x=1",
        ),
        ("nats://ana:hunter2@bus:4222", "nats://***@bus:4222"),
        ("nats://hunter2@bus,nats://hunter2@bus2", "nats://***@bus2"),
        ("postgresql://ana@db/records", "postgresql://ana@db/records"),
        ("tigerbeetle://10.0.0.1:3000?cluster=0", "tigerbeetle://10.0.0.1:3000?cluster=0"),
    ],
)
def test_an_address_is_shown_without_its_password(url: str, printed: str) -> None:
    assert settings.without_password(url) == printed


def test_each_setting_has_a_default_and_one_line_of_help() -> None:
    assert {setting.name for setting in SETTINGS} == set(Settings.__struct_fields__)
    for setting in SETTINGS:
        assert "\n" not in setting.help
        assert setting.help.endswith(".")
        assert setting.variable == "LARGESSE_" + setting.name.upper()


def test_an_address_can_be_typed_whatever_the_server_listens_on() -> None:
    assert settings.address("0.0.0.0", 80) == "http://127.0.0.1:80"
    assert settings.address("::1", 8080) == "http://[::1]:8080"
    assert settings.address("example.test", 1) == "http://example.test:1"
