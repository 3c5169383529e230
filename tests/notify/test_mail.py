"""Mail goes out whole, to whom it should, and a bad server holds nobody up."""

import asyncio
from collections.abc import AsyncIterator
from email import message_from_bytes, policy

import pytest

from largesse.notify import mail
from largesse.notify.mail import PrintedMailer, SmtpMailer


class Server:
    """A mail server as small as may be: it takes everything and keeps it."""

    def __init__(self) -> None:
        self.mails: list[tuple[str, bytes]] = []
        self.refuses = False
        self.may_answer = asyncio.Event()
        self.may_answer.set()

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self.may_answer.wait()
        writer.write(b"554 closed\r\n" if self.refuses else b"220 here\r\n")
        to = ""
        while line := await reader.readline():
            word = line.split()[0].upper()
            if word == b"RCPT":
                to = line.decode().partition("<")[2].partition(">")[0]
            if word == b"DATA":
                writer.write(b"354 go on\r\n")
                body = await reader.readuntil(b"\r\n.\r\n")
                self.mails.append((to, body[:-3]))
            writer.write(b"221 bye\r\n" if word == b"QUIT" else b"250 ok\r\n")
            if word == b"QUIT":
                break
        writer.close()


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    server = Server()
    listening = await asyncio.start_server(server.talk, "127.0.0.1", 0)
    server.port = listening.sockets[0].getsockname()[1]
    yield server
    listening.close()
    await listening.wait_closed()


def mailer_for(server: Server) -> SmtpMailer:
    return SmtpMailer(
        host="127.0.0.1", port=server.port, starttls=False, sender="Gifts <gifts@example.com>"
    )


async def test_a_mail_arrives_as_it_was_written(server):
    mailer = mailer_for(server)
    await mailer.send("ana@example.com", "Grüße", "Hello ana,\n\n.a dot first\n¡olé!\n")
    await mailer.close()
    [(to, raw)] = server.mails
    message = message_from_bytes(raw, policy=policy.default)
    assert to == "ana@example.com"
    assert (message["From"], message["To"]) == ("Gifts <gifts@example.com>", "ana@example.com")
    assert message["Subject"] == "Grüße"
    assert message["Message-ID"].endswith("@example.com>")
    assert "¡olé!" in message.get_content()


async def test_nobody_waits_for_a_slow_server(server):
    server.may_answer.clear()
    mailer = mailer_for(server)
    for n in range(3):
        await asyncio.wait_for(mailer.send("ana@example.com", f"mail {n}", "text"), 1)
    assert server.mails == []
    server.may_answer.set()
    await mailer.close()
    subjects = [message_from_bytes(raw)["Subject"] for _, raw in server.mails]
    assert subjects == ["mail 0", "mail 1", "mail 2"]


async def test_a_server_that_refuses_is_logged_without_the_secret_in_the_mail(server, caplog):
    server.refuses = True
    mailer = mailer_for(server)
    await mailer.send("ana@example.com", "A new password", "the secret")
    await mailer.close()
    assert "A mail was not sent" in caplog.text
    assert "the secret" not in caplog.text
    server.refuses = False


async def test_too_many_waiting_mails_are_dropped_and_that_is_logged(server, caplog, monkeypatch):
    monkeypatch.setattr(mail, "WAITING_MAX", 2)
    server.may_answer.clear()
    mailer = mailer_for(server)
    for n in range(3):
        await mailer.send("ana@example.com", f"mail {n}", "text")
    server.may_answer.set()
    await mailer.close()
    assert len(server.mails) == 2
    assert "dropped" in caplog.text


@pytest.mark.parametrize("field", ["to", "subject"])
async def test_nobody_smuggles_in_a_header(field):
    words = {"to": "ana@example.com", "subject": "hello", "text": "text"}
    words[field] += "\r\nBcc: bo@example.com"
    with pytest.raises(ValueError, match=r"(?i)linefeed|newline|invalid"):
        await PrintedMailer(lambda _: None).send(**words)


async def test_without_a_server_a_mail_is_printed():
    printed: list[str] = []
    mailer = PrintedMailer(printed.append)
    await mailer.send("ana@example.com", "hello", "the text")
    assert printed == ["Mail to ana@example.com: hello\n\nthe text"]
    assert mailer.last["To"] == "ana@example.com"
