"""Our own rules, for what scanners were seen to miss. Pure: the same content gives the same findings.

They look at the forms that dotfiles take: a literal after a name that is a secret's, in a template too, once its actions
are taken out; what programs keep passwords in (netrc, npmrc, pgpass, WireGuard, kubeconfig, Docker); private keys; URLs
with a password; data of chezmoi; what `.sops.yaml` says is encrypted, and is not.
"""

import base64
import binascii
import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence

import msgspec

from gitopsd.secrets import data, keys

_BINARY_LOOK = 8192  # bytes
_DEPTH = 2  # how often what is in base64 is decoded
_FIELDS = 4  # of a line in a file of passwords
_LONG_LINE = 4_000  # characters; a longer one is looked at in pieces

_IN_ACTION = re.compile(
    r"""\$?(?<![\w.-])(?P<key>[A-Za-z_][\w.-]{0,120})\s*:?=\s*(?P<quote>["`'])(?P<value>[^"`'\n]{4,})(?P=quote)"""
)
_MAKES_DICT = re.compile(r"\b(?:dict|set|setValueAtPath)\b")
_IN_DICT = re.compile(r"""["`](?P<key>[A-Za-z_][\w.-]*)["`]\s+(?P<quote>["`])(?P<value>[^"`\n]{4,})(?P=quote)""")
_DEFAULT = re.compile(
    r"""\.(?P<key>\w+)\s*\|\s*default\s+"(?P<value>[^"\n]+)"|default\s+"(?P<value2>[^"\n]+)"\s+\.(?P<key2>\w+)"""
)

_PAIR = re.compile(
    r"""(?<!\w)(?P<key>["']?(?:--?|//[\w@/:.-]{0,200}/:)?[A-Za-z_][\w.-]{0,120}["']?(?:\[["'][\w.-]+["']\])?)
        (?P<sep>\s*(?:=>|:=|\?=|\+=|==?|:)\s*|(?<=[\w-])\s+(?=["']))
        (?P<type>!\w+\s+)?
        (?:"(?P<double>(?:[^"\\\n]|\\.)*)"|''(?P<nix>[^'\s][^'\n]*)''|\[\[(?P<lua>[^\]\n]+)\]\]|`(?P<tick>[^`\n]+)`
        |'(?P<single>[^'\n]*)'|(?P<bare>[^\s"'`#;,&|<>)}\]][^\s"'`;,&|<>)}\]]*))""",
    re.VERBOSE,
)
# A line that is a name and its value, and nothing else: whatever sign is in the value is a part of it then.
_ALONE = re.compile(
    r"""\s*(?:(?:export|set|local|-)\s+)?["']?(?P<key>[A-Za-z_][\w.-]{0,120})["']?\s*[:=]\s*(?P<quote>["']?)(?P<value>[^\s"'`]{6,200})(?P=quote)\s*[,;]?\s*"""
)
_CONTINUED = re.compile(
    r"""(?P<head>(?<![\w.-])[\w.-]{1,120}["']?\s*(?P<sign>[:=]))\s*(?P<folded>[>|][+-]?\d?|\\)?\s*$"""
)
_KEY = re.compile(r"""["']?[\w.-]+["']?\s*[:=](?:\s|$)""")
_ENTRY = re.compile(
    r"""(?<![\w./-])["']?(?P<key>[\w.-]{1,120})["']?\s*[:=]\s*["']?(?P<value>[^"'\s#][^"'#\n]*?)["']?\s*,?\s*(?:\#.*)?$"""
)
_OPTION = re.compile(
    r"""(?<![\w-])--?(?P<key>[a-z][a-z-]*)(?:[=\s]|["']\s*,\s*)["']?(?P<value>(?!-|\d?[<>])[^\s"'`\])]+)"""
)
# An option of a list, whose value is in the next line: JSON and YAML.
_OPTION_ALONE = re.compile(r"""^\s*(?:-\s+)?["']?(?P<option>--?[a-z][a-z-]*)["']?\s*,?\s*$""")
_QUERY = re.compile(r"""[?&](?P<key>[A-Za-z][\w.-]{0,40})=(?P<value>[^\s&"'`<>#(){}\[\]\\|;,]{16,400})""")
_PROSE = re.compile(
    r"(?i)\b(?:password|passwd|passphrase|passwort|kennwort|pw|psk|secret|token)\s+(?:is\s+|ist\s+)?`(?P<value>[^`\s]+)`"
)
_URL = re.compile(
    r"(?i)\b[a-z][a-z0-9+.-]{1,20}://(?P<user>[^\s:@/\"'<>]{0,200}):(?P<value>[^\s@/\"'<>]{1,400})@[\w\[{$.-]"
)
_HEADER = re.compile(
    r"(?i)\b(?:authorization|proxy-authorization)\b[\"']?\s*[:=]\s*[\"']?(?:(?:bearer|token)\s+(?P<value>[\w+/=.~-]{12,})|basic\s+(?P<value2>[\w+/=-]{8,}))"
)
_API_HEADER = re.compile(r"(?i)\bx-[\w-]*(?:key|token|secret|auth)\s*:\s*(?P<value>[^\s\"']{8,})")
_CURL = re.compile(
    r"""(?:\bcurl\b|\bwget\b|\bhttp\b)[^\n|;]*?\s(?:-u|--user)[=\s]*["']?(?P<user>[^\s:"']+):(?P<value>[^\s"']+)"""
)
# The person who is made, who logs in, and what is piped to a program that asks for a password.
_SQL = re.compile(r"(?i)\bidentified\s+(?:with\s+\S+\s+)?(?:by|as)\s+(?:password\s+)?'(?P<value>[^'\n]+)'")
_PIPED = re.compile(
    r"""\b(?:echo|printf)\s+(?:-\w+\s+|["']?%s(?:\\n)?["']?\s+)*["']?(?P<value>[^\s"'|]+)["']?\s*\|\s*"""
    r"""(?:sudo\b[^\n|]*\s(?:-S|--stdin)\b|[^\n|]*--(?:passw(?:or)?d|passphrase|token)-?(?:(?:on-|from-)?stdin|fd[ =]0)\b)"""
)
# What is typed for a person: by `expect`, to NickServ, and as an argument of a client.
_EXPECT = re.compile(
    r"""(?i)(?:assword|assphrase|\bpin\b)[^\n]{0,40}\n?\s*(?-i:send)\s+(?:--\s+)?["'](?P<value>[^"'\\\n]+)(?:\\[rn])*["']"""
)
_NICKSERV = re.compile(r"""(?i)\bnickserv\b[\s:]+identify\s+(?:[^\s;"'|]+\s+)?(?P<value>[^\s;"'|]+)""")
_FREERDP = re.compile(
    r"""\b\w*freerdp\d?\b[^\n]{0,400}\s/(?:p|gp|password|gateway-password):["']?(?P<value>[^\s"']+)"""
)
_FTP = re.compile(r"""\b(?:open|lftp)\b[^\n|;]{0,200}\s(?:-u|--user)[\s=]+["']?[^\s,"']+,(?P<value>[^\s"']+)""")
_MPD_HOST = re.compile(r"""\bMPD_HOST\b["']?[\s=:]+["']?(?P<value>[^\s@"'/]+)@[\w.-]""")
_SASL_PLAIN = re.compile(r"""\bsasl[-_]plain\s*[=\s]\s*["']?[^\s:"']+:(?P<value>[^\s"']+)""")
_LOGIN_CALL = re.compile(
    r"""\b(?:auth|authenticate|login|log_in|signin|sign_in)\(\s*(?P<q>["'])[^"'\n]+(?P=q)\s*,\s*(?P<q2>["'])(?P<value>[^"'\n]+)(?P=q2)"""
)
# As curl and browsers write them: domain, subdomains, path, secure, expiry, name, value.
_COOKIE_FILE = re.compile(
    r"^[\w.#-]+\t(?:TRUE|FALSE)\t[^\t\n]*\t(?:TRUE|FALSE)\t\d+\t[^\t\n]*\t(?P<value>\S{16,})$", re.MULTILINE
)
_COOKIE = re.compile(
    r"(?i)\bcookie[\"']?\s*[:=]\s*[\"']?(?:[^\"'\n]{0,300}?;\s*)?[\w.-]{1,80}=(?P<value>[\w%+/.~-]{16,})"
)
_OVPN_USER = re.compile(r"<auth-user-pass>\s*\n[^\n<]+\n(?P<value>[^\n<]+)")
_JWK = re.compile(r"""["']?kty["']?\s*:[^{}]{0,400}["']?\bd["']?\s*:\s*["'](?P<value>[\w-]{40,})["']""")
_SSHPASS = re.compile(
    r"""\bsshpass\s+-p\s*["']?(?P<value>[^\s"']+)|\bmysql(?:dump)?\b[^\n]*\s-p(?P<value2>[^\s"'-][^\s"']*)"""
)
_NETRC = re.compile(
    r"^(?![ \t]*#)[^\n]*?\bpassword\s+(?!(?:machine|default|login|account|macdef|password)\b)(?P<value>\S+)",
    re.MULTILINE,
)
_MSMTP = re.compile(r"^[ \t]*password[ \t]+(?P<value>\S+)[ \t]*$", re.MULTILINE)
_NETRC_LINE = re.compile(r"\bmachine\s+\S+\s+login\s+\S+\s+(?:port\s+\S+\s+)?password\s+(?P<value>\S+)")
_WORDS = re.compile(
    r"""^\s*(?:set\s+(?:-\w+\s+)+|setenv\s+)?(?P<key>[A-Za-z_][\w-]*)\s+["']?(?P<value>[^\s"']+)["']?\s*$"""
)
_PGPASS = re.compile(
    r"^(?!#)(?:[^:\n\\]|\\.)+:(?:\d+|\*):(?:[^:\n\\]|\\.)+:(?:[^:\n\\]|\\.)+:(?P<value>.+)$", re.MULTILINE
)
_WIFI = re.compile(r"^\s*(?:psk|wep_key0|password)\s*=\s*(?P<value>.+)$", re.MULTILINE)
_XML = re.compile(
    r"<(?P<key>[\w:.-]{1,120})[^>]{0,400}>(?P<value>[^<>\n]{4,})</(?P=key)>|(?:name|key)=\"(?P<key2>[\w.-]+)\"\s+value=\"(?P<value2>[^\"\n]+)\""
)
_PEM = re.compile(
    r"-----BEGIN (?P<kind>[A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?|OpenVPN (?:Static key V1|tls-crypt-v2 \w+ key))-----\s*(?P<value>[A-Za-z0-9+/=:,.\s\\-]{40,})"
)
_PEM_LINE = re.compile(r"[A-Za-z0-9+/=]{32}")
_SIGNED = "X-Amz-Credential="  # the id of a key in an address; the key is not in it
_TOKENS: tuple[tuple[str, re.Pattern[str]], ...] = tuple(
    (rule, re.compile(pattern))
    for rule, pattern in (
        ("age-secret-key", r"AGE-SECRET-KEY-1[0-9A-Z]{58}"),
        ("putty-private-key", r"PuTTY-User-Key-File-\d: \S+"),
        ("github-token", r"\b(?:gh[pousr]_[A-Za-z0-9]{36,}|github_pat_\w{60,})"),
        ("gitlab-token", r"\bgl(?:pat|dt|rt|cbt|ptt|ft|soat)-[\w-]{20,}"),
        (
            "slack-token",
            r"\bxox[abeoprs]-[\w-]{10,}|\bxapp-\d-[\w-]{10,}|https://hooks\.slack\.com/services/[\w/]{20,}",
        ),
        ("discord-webhook", r"https://(?:\w+\.)?discord(?:app)?\.com/api/webhooks/\d+/[\w-]{20,}"),
        ("aws-access-key", r"\b(?:AKIA|ASIA|ABIA|ACCA)[A-Z2-7]{16}\b"),
        ("google-api-key", r"\bAIza[\w-]{35}"),
        ("google-oauth", r"\bGOCSPX-[\w-]{28}|\bya29\.[\w-]{30,}"),
        ("stripe-key", r"\b[rs]k_(?:live|test)_\w{16,}"),
        ("openai-key", r"\bsk-(?:proj-|svcacct-|ant-\w+-)?[A-Za-z0-9_-]{32,}"),
        ("npm-token", r"\bnpm_[A-Za-z0-9]{36}"),
        ("pypi-token", r"\bpypi-[\w-]{50,}"),
        ("docker-token", r"\bdckr_(?:pat|oat)_[\w-]{20,}"),
        ("huggingface-token", r"\bhf_[A-Za-z]{30,}"),
        ("digitalocean-token", r"\bdo[opr]_v1_[0-9a-f]{64}"),
        ("telegram-token", r"\b\d{8,10}:AA[\w-]{32,}"),
        ("private-calendar", r"\bcalendar\.google\.com/calendar/ical/[^\s\"']+/private-[0-9a-f]{16,}"),
        ("sendgrid-token", r"\bSG\.[\w-]{16,}\.[\w-]{16,}"),
        ("tailscale-key", r"\btskey-[a-z]+-\w{8,}-?\w*"),
        ("vault-token", r"\bhv[sbr]\.[\w-]{24,}"),
        ("jwt", r"\beyJ[\w-]{10,}\.eyJ[\w-]{10,}\.[\w-]{16,}"),
    )
)
_FORMS = frozenset(("private-key", "password-in-url", *(rule for rule, _ in _TOKENS)))
_BASE64 = re.compile(r"(?<![\w+/-])[A-Za-z0-9+/]{20,}={0,2}(?![\w+/=-])")
_RANDOM = re.compile(r"(?<![\w+/=.~-])[A-Za-z0-9+/_=-]{20,}(?![\w+/=.~-])")

_LOCK_FILE = re.compile(
    r"(?i)(?:^|/)(?:[\w.-]*[._-]lock(?:\.json|file|\.hcl|\.ya?ml)?|package-lock\.json|npm-shrinkwrap\.json|go\.sum"
    r"|pnpm-lock\.yaml|lazy-lock\.json|[\w.-]+\.lock|dot_?[\w-]*lock\.json)(?:\.tmpl)?$"
)
_KEYSTORE = re.compile(r"(?i)\.(?:p12|pfx|jks|keystore|kdbx|ppk|kwl|keyring)$")
_KEYSTORE_MAGIC = (b"\x03\xd9\xa2\x9a", b"\xfe\xed\xfe\xed", b"KWALLET\n", b"GnomeKeyring\n")
# A public key; what a service gives out to be put into pages.
_PUBLIC = re.compile(
    r"^(?:ssh-(?:rsa|ed25519)|ecdsa-|sk-(?:ssh|ecdsa)-|-----BEGIN (?:PUBLIC KEY|CERTIFICATE)|mQ[EGIS][NiBMu]|mDME|mI0E|xsFN|xsBN|xjME"
    r"|phc_|pk_(?:live|test)_|sb_publishable_|z6Mk)"
)
# The token in the address of a picture is for everybody who sees it.
_BADGE = re.compile(r"https?://[^\s\"'()<>]{1,300}\.svg\?[^\s\"'()<>]*")
_SECTION = re.compile(r"""^\s*\[[\w.-]+\s+"[^"\n]*"\]\s*$""")  # of a configuration of git
_ASSIGNED = re.compile(r"(?P<name>(?:[a-z0-9-]+\.)+[a-z]{2,}|[a-z][a-z_]*)=(?P<value>\$?|[^=].*)")
# What a program puts in for: what is left is not made up then, as in `radicle-${host}`.
_INTERPOLATION = re.compile(r"\\?\$\{[^}]*\}?|\\?\$\([^)]*\)?|\$\$$|\{\$\w+\}|\$[A-Z][A-Z_]{2,}|\\\([^)]*\)?")
_NGINX = frozenset(("proxy", "fastcgi", "uwsgi", "scgi", "grpc", "memcached"))  # whose `_pass` is an address
_FOLLOWS = re.compile(
    r"""(?:local|export|readonly|declare|typeset|let|const|var|set)\s|[^\s"']+[:=](?:\s|$)|//\S+[:=]"""
)
_PGP_ID = re.compile(r"(?:0x)?[0-9A-F]{8,40}")
_SOPS = re.compile(rb"(?m)^[ \t]*[\"']?sops[\"']?\s*[:=]|^\[sops\]|^sops_mac=|\"sops\"\s*:\s*\{")
_SOPS_FILE = re.compile(r"(?i)\.(?:ya?ml|json|env|ini)$")
_SOPS_MAC = re.compile(rb"(?m)(?:^|[\s\"'_])mac[\"']?\s*[:=]")
# A SOPS file of which only some values are encrypted, on purpose.
_PARTLY = re.compile(
    r"\bencrypted_suffix\b|\b(?:un)?encrypted_(?:comment_)?regex\b|_unencrypted[\"']?\s*:\s*$", re.MULTILINE
)
_SOPS_BEGINS = re.compile(r"""(?P<indent>\s*)["']?sops["']?\s*[:=]|\[sops\]|sops_""")
_SOPS_VALUE = re.compile(
    r"""\s*(?:-\s+)*(?:(?:"[^"\n]*"|[^\s"'#:={}\[\]-][^\s:=]*)\s*(?::\s+|=)|(?<=-\s))(?P<value>[^\s#{}\[\],].*?),?\s*"""
)
_NOT_TO_ENCRYPT = re.compile(r"""["']?ENC\[.*|null|~|""|''|[&*!]\S+|_unencrypted.*""")
_ENCRYPTED = re.compile(
    rb"^(?:age-encryption\.org/|-----BEGIN (?:AGE ENCRYPTED FILE|PGP MESSAGE)-----|\$ANSIBLE_VAULT;)"
)
_QUERY_KEYS = frozenset(("appid", "app_id", "sig", "signature"))
_STRING_TAG = re.compile(r"!(?:str|binary)\b")
# Texts that people read: a word after `password` is its translation.
_TRANSLATION = re.compile(
    r"(?i)(?:^|/)(?:i18n|l10n|locales?|lang(?:uage)?s?|translations?|messages)/"
    r"|(?:^|/)[a-z]{2}(?:[-_][a-z]{2})?\.(?:json|ya?ml|properties|ftl|strings|po)$"
)
_TRANSLATED = re.compile(r"[^\W\d_]+(?:[-' ][^\W\d_]+)*")
_SEALED_SECRET = re.compile(r"(?m)^kind:\s*[\"']?SealedSecret\b")
_SEALED_DATA = re.compile(r"(?m)^(?P<indent> *)encryptedData:\s*\n(?:(?P=indent) +.*\n?)*")
# A file that is nothing but passwords: its name says so, and it has no more than a few words in a line.
_ATTRIBUTES = re.compile(r"^(?:encrypted_|private_|readonly_|empty_|create_|modify_|exact_|literal_|dot_|\.)+")
_NO_PASSWORD_FILE = re.compile(
    r"(?i)^(?:executable_|run_|symlink_|\.git)|\.(?!txt$|conf$|tmpl$|secrets?$|cred$|auth$|key$)\w+$"
)
# Words of names whose values people make up.
_FOR_PEOPLE = frozenset(
    (
        *(
            "password",
            "passwd",
            "passwort",
            "kennwort",
            "pass",
            "passphrase",
            "passcode",
            "pw",
            "pwd",
            "psk",
            "pin",
            "secret",
            "secrets",
        ),
        *("mnemonic", "phrase", "preshared", "cred", "creds", "credential", "credentials", "otp"),
    )
)
_BY_SERVICES = frozenset((before, "secret") for before in ("client", "app", "consumer", "oauth"))
_SHOUTED = re.compile(r"_*[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+_*|[A-Z]+(?:-[A-Z]+)+")
# What no machine makes: a word, `user@host`, words and small numbers.
_NO_TOKEN = re.compile(
    r"[a-z]{1,15}|[A-Z]{1,15}|(?:[A-Z]?[a-z]{2,})+|[a-z]+@[a-z]+|(?:[a-z]+|\d{1,3})(?:[-_./:](?:[a-z]+|\d{1,3}))+"
)
_FIELD = re.compile(r"[^\s:\"']+")
_CHEZMOI_DATA = re.compile(r"(?:^|/)\.chezmoidata(?:\.[a-z]+$|/)|(?:^|/)\.?chezmoi\.(?:toml|ya?ml|jsonc?)(?:\.tmpl)?$")


IN_NAME = "-in-name"  # what the rule of a hit ends in that is about a file's name


class Hit(msgspec.Struct, frozen=True, kw_only=True):
    """A place in a file that looks like a secret.

    Args:
        rule: what found it.
        line: from 1; 0 if it is about the file as a whole.
        value: the secret; what stands for the file if it is about that.

    """

    rule: str
    line: int
    value: str

    def __repr__(self) -> str:  # the value must not get into a log by way of a message
        return f"Hit(rule={self.rule!r}, line={self.line})"


def scan(
    path: str,
    content: bytes,
    *,
    strict: bool = False,
    is_secret: Callable[[str], bool] = lambda _: False,
    must_be_encrypted: Sequence[re.Pattern[str]] = (),
) -> tuple[Hit, ...]:
    """Look for secrets in one file.

    Args:
        path: in the repository.
        content: what it holds.
        strict: report whatever looks random too, since no scanner looks after us.
        is_secret: whether the person has decided that a variable of chezmoi's data is a secret.
        must_be_encrypted: what `.sops.yaml` says is encrypted.

    """
    encrypted = bool(_ENCRYPTED.match(content) or _SOPS.search(content))
    if _ENCRYPTED.match(content):
        content = _after_armor(content)
    hits = []
    if not encrypted and any(pattern.search(path) for pattern in must_be_encrypted):
        hits.append(Hit(rule="not-encrypted", line=0, value=content.decode(errors="replace")))
    elif _SOPS_FILE.search(path) and _SOPS.search(content) and _SOPS_MAC.search(content):
        plain = _plain_in_sops(content.decode(errors="replace"))
        hits += [Hit(rule="not-encrypted", line=number, value=value) for number, value in plain]
    if _KEYSTORE.search(path) or content.startswith(_KEYSTORE_MAGIC):
        hits.append(Hit(rule="key-store", line=0, value=content.decode(errors="replace")))
    if b"\0" in content[:_BINARY_LOOK]:
        return tuple(hits)
    text = content.decode(errors="replace")
    found = _Findings(text)
    _scan_text(path, text, found, is_secret)
    for start, inside in decoded(text):
        inner = _Findings(inside)
        _scan_text(path, inside, inner, is_secret)
        for hit in inner.hits:
            found.add(hit.rule, start, hit.value)
    if strict and not is_lock_file(path):
        for match in _RANDOM.finditer(text):
            if keys.looks_random(match.group(), least=20) and not keys.is_uuid(match.group()):
                found.add("looks-random", match.start(), match.group())
    return (*hits, *found.hits)


def shown(path: str, hits: Iterable[Hit]) -> str:
    """A path as it may be shown, without what was found in it."""
    for hit in hits:
        if hit.rule.endswith(IN_NAME):
            path = path.replace(hit.value, "***")
    return path


def cleared(path: str) -> str:
    """A path without what has the form of a secret in it."""
    # A word begins after an underscore, too: `dot_` and `private_` stand before it.
    starts = (0, *(found.end() for found in re.finditer("_", path)))
    hits = [hit for start in starts for hit in scan("", os.fsencode(path[start:])) if has_form(hit.rule)]
    for hit in hits:
        path = path.replace(hit.value, "***")
    return path


def told(text: str) -> str:
    """What a program said, without what looks like a secret in it."""
    for hit in sorted(scan("", text.encode(errors="replace")), key=lambda hit: len(hit.value), reverse=True):
        text = text.replace(hit.value, "***")
    return text


def names_secret(path: str) -> bool:
    """Whether a path has in it what has the form of a secret: then it is to be in no list of arguments."""
    return cleared(path) != path


def is_lock_file(path: str) -> bool:
    """Whether a file is one that a package manager fills with hashes."""
    return bool(_LOCK_FILE.search(path))


def _after_armor(content: bytes) -> bytes:
    """What stands behind an encrypted block, with the lines counted on; nothing if it is encrypted to its end."""
    if (
        content.startswith(b"-----BEGIN")
        and (end := re.search(rb"(?m)^-----END [A-Z ]+-----\s*$", content)) is not None
    ):
        return b"\n" * content.count(b"\n", 0, end.end()) + content[end.end() :]
    if content.startswith(b"$ANSIBLE_VAULT;"):
        return re.sub(rb"(?m)^(?:\$ANSIBLE_VAULT;.*|[0-9a-f]+)$", b"", content)
    return b""


def has_form(rule: str) -> bool:
    """Whether one of our rules goes by what a secret looks like, and not by the name that stands before it."""
    return rule in _FORMS


def is_guess(rule: str) -> bool:
    """Whether a scanner's rule goes by what stands around a value, and how random that is."""
    return rule.startswith("generic") or "entropy" in rule


def is_false(path: str, rule: str, value: str, line: str) -> bool:
    """Whether what a scanner reports is none, by what we know of dotfiles.

    Args:
        path: in the repository.
        rule: the scanner's.
        value: what it took for a secret.
        line: the line that it is in.

    """
    guess = is_guess(rule)
    at = line.find(value)
    if "{{" in value and at >= 0 and not re.search(r"[^\s:=@\"'/]$", f"{line[:at]}{value.partition('{{')[0]}"):
        return True  # nothing stands there but an action
    if guess and is_lock_file(path):
        return True
    if "ENC[" in line and re.search(rf"ENC\[[^\]]*{re.escape(value[:40])}", line):
        return True
    if _PUBLIC.match(value):
        return True
    if guess and re.fullmatch(r"[0-9A-F]{40}", value):
        return True  # a fingerprint as gpg prints it
    if not guess:
        short = len(value) < 60 and keys.is_reference(value)  # in the body of a key any word may come up
        signed = rule.startswith("aws") and line[: line.find(value)].endswith(_SIGNED)
        return short or signed or bool(re.search(r"(?i)example|placeholder|x{8}|0{12}", value))
    if keys.is_reference(value) or keys.is_filler(value) or _is_translated(path, value):
        return True
    before = line[:at] if at >= 0 else ""
    if before.count("{{") > before.count("}}") and not re.search(r":?=\s*[\"`]?$", before):
        return True  # an argument of a template's function says where the secret is
    if re.search(r"(?:op|vault|bw|pass|secret)://\S*$", before):
        return True
    name = _PAIR.search(line)
    if name and keys.names_encrypted(name["key"]):
        return True
    return bool(name and keys.words(name["key"])[-1:] in (["hash"], ["digest"], ["checksum"], ["rev"], ["commit"]))


def _plain_in_sops(text: str) -> Iterator[tuple[int, str]]:
    """What stands in plain in a SOPS file, as it does if somebody wrote it there with an editor."""
    if _PARTLY.search(text):
        return
    inside: str | None = None
    for number, line in enumerate(text.splitlines(), 1):
        if found := _SOPS_BEGINS.match(line):
            inside = found["indent"] or ""
        elif inside is not None and line.strip() and len(line) - len(line.lstrip()) <= len(inside):
            inside = None
        key = line.partition(":")[0].partition("=")[0].strip("\"' ")
        if inside is None and not key.endswith("_unencrypted") and (entry := _SOPS_VALUE.fullmatch(line)):
            value = entry["value"].strip("\"'")
            if not _NOT_TO_ENCRYPT.fullmatch(entry["value"]) and not keys.is_reference(value):
                yield number, value


def encryption_rules(sops_yaml: bytes) -> tuple[re.Pattern[str], ...]:
    """The `path_regex` of each creation rule in a `.sops.yaml`; what is not understood is left out.

    See sops's README, "Using .sops.yaml conf to select KMS, PGP and age for new files".
    """
    found = []
    for match in re.finditer(
        r"(?m)^\s*(?:-\s+)?[\"']?path_regex[\"']?\s*:\s*(?P<value>.+?)\s*$", sops_yaml.decode(errors="replace")
    ):
        value = match["value"]
        if value[0] == value[-1:] == '"':
            value = value[1:-1].replace("\\\\", "\\")
        elif value[0] == value[-1:] == "'":
            value = value[1:-1].replace("''", "'")
        else:
            value = re.sub(r"\s+#.*$", "", value)
        try:
            found.append(re.compile(value))
        except re.error:
            continue
    return tuple(found)


def decoded(text: str, depth: int = _DEPTH) -> Iterator[tuple[int, str]]:
    """What stands in base64, where it is text, with its place; and what stands in that."""
    for match in _BASE64.finditer(text):
        raw = match.group()
        try:
            inside = base64.b64decode(raw + "=" * (-len(raw) % 4), validate=True).decode()
        except (binascii.Error, ValueError):
            continue
        if inside.isprintable() or re.fullmatch(r"[\x20-\x7e\n\t]+", inside):
            yield match.start(), inside
            if depth > 1:
                yield from ((match.start(), inner) for _, inner in decoded(inside, depth - 1))


def without_actions(text: str) -> str:
    """A template with its actions taken out and its lines kept."""
    return data.replaced(text, lambda action: "\n" * action.count("\n"))


class _Findings:
    """Collects hits by place, each value of a line once."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._seen: set[tuple[int, str]] = set()
        self.hits: list[Hit] = []

    def add(self, rule: str, at: int, value: str) -> None:
        self.add_line(rule, self._text.count("\n", 0, at) + 1, value)

    def add_line(self, rule: str, line: int, value: str) -> None:
        value = value.strip()
        if any(number == line and (value in known or known in value) for number, known in self._seen):
            return
        self._seen.add((line, value))
        self.hits.append(Hit(rule=rule, line=line, value=value))


def _scan_text(path: str, text: str, found: _Findings, is_secret: Callable[[str], bool]) -> None:
    name = path.rpartition("/")[2].lower()
    for rule, pattern in _TOKENS:
        for match in pattern.finditer(text):
            signed = rule == "aws-access-key" and text[: match.start()].endswith(_SIGNED)
            if not (signed or keys.is_example(match.group())) and len(set(match.group()[-16:])) > 4:
                found.add(rule, match.start(), match.group())
    for match in _PEM.finditer(text):
        if _PEM_LINE.search(match["value"]):
            found.add("private-key", match.start(), match["value"])
    bare = _BADGE.sub("", without_actions(text))
    for rule, pattern in (
        ("password-in-url", _URL),
        ("authorization-header", _HEADER),
        ("api-key-header", _API_HEADER),
        ("password-in-command", _CURL),
        ("password-in-command", _SSHPASS),
        ("password-in-command", _PIPED),
        ("password-in-sql", _SQL),
        ("openvpn-password", _OVPN_USER),
        ("private-jwk", _JWK),
        ("cookie", _COOKIE),
        ("cookie", _COOKIE_FILE),
        ("password-in-script", _EXPECT),
        ("password-in-script", _NICKSERV),
        ("password-in-script", _LOGIN_CALL),
        ("password-in-command", _FREERDP),
        ("password-in-command", _FTP),
        ("mpd-password", _MPD_HOST),
        ("sasl-password", _SASL_PLAIN),
    ):
        for match in pattern.finditer(bare):
            value = match["value"] or match["value2"]
            if rule == "cookie":
                value = value.rpartition("=")[2]
            if rule == "authorization-header" and _NO_TOKEN.fullmatch(value):
                continue
            if rule == "password-in-url" and match["user"] == value:
                continue  # what everybody has on a machine of their own
            if not keys.is_reference(value) and (rule != "cookie" or keys.looks_random(value)):
                at = bare.find(value, match.start())
                found.add_line(rule, bare.count("\n", 0, at) + 1, value)
    _by_pattern("netrc-password", _NETRC if "netrc" in name or "authinfo" in name else _NETRC_LINE, bare, found)
    if "msmtp" in path:
        _by_pattern("msmtp-password", _MSMTP, bare, found)
    if "pgpass" in name:
        _by_pattern("pgpass-password", _PGPASS, bare, found)
    if name.endswith((".nmconnection", ".nmconnection.tmpl")) or "wpa_supplicant" in name or "iwd" in path:
        _by_pattern("wifi-password", _WIFI, bare, found)
    _scan_actions(text, found)
    variables = data.names_by_line(path.removesuffix(".tmpl"), bare) if _CHEZMOI_DATA.search(path) else None
    secret_manifest = bool(re.search(r"(?m)^kind:\s*[\"']?Secret\b", bare))
    in_data, locked = False, is_lock_file(path)
    lines = _without_sealed(bare).splitlines()
    for number, value in _in_password_file(path, lines):
        found.add_line("password-file", number, value)
    for number, line in enumerate(lines, 1):
        if locked:
            continue
        for piece in _pieces(line):
            for rule, value in _pairs(piece):
                if not _is_translated(path, value):
                    found.add_line(rule, number, value)
        if len(line) > _LONG_LINE:
            continue
        if (after := _CONTINUED.search(line)) and number < len(lines):
            # `password: >-`, `password =\` or `"password":`, and the value in the next line.
            rest = lines[number][:_LONG_LINE].strip()
            needs_quote = after["sign"] == "=" and not after["folded"]  # `key=` alone is an empty value
            if not (_PAIR.match(rest) or _KEY.match(rest) or _FOLLOWS.match(rest) or rest.startswith("- ")) and (
                rest[:1] in ("'", '"') or not needs_quote
            ):
                for rule, value in _pairs(f"{line[: after.end('head')]} {rest}"):
                    found.add_line(rule, number + 1, value)
        if (option := _OPTION_ALONE.match(line)) and number < len(lines):
            for rule, value in _pairs(f"{option['option']}={lines[number][:_LONG_LINE].strip().removeprefix('- ')}"):
                found.add_line(rule, number + 1, value)
        if variables is not None and not line.lstrip().startswith("#") and (entry := _ENTRY.search(line.strip())):
            key, value = variables.get(number, entry["key"]), entry["value"].strip()
            secret = is_secret(key) or (
                not _PGP_ID.fullmatch(value) and (keys.names_secret(key) or (names_api(key) and _might_be_key(value)))
            )
            if secret and not keys.is_reference(value) and len(value) > 3:
                found.add_line("secret-in-chezmoidata", number, value)
        if secret_manifest:
            if re.match(r"(?:data|stringData):", line):
                in_data = True
            elif in_data and re.match(r"\S", line):
                in_data = False
            elif in_data and (entry := _ENTRY.search(line.strip())) and not keys.is_reference(entry["value"]):
                found.add_line("kubernetes-secret", number, entry["value"])


def _is_translated(path: str, value: str) -> bool:
    """Whether a value is a word in a file of words for people."""
    return bool(_TRANSLATED.fullmatch(value) and _TRANSLATION.search(path))


def sealed_lines(text: str) -> frozenset[int]:
    """The lines, from 1, of a manifest that only its cluster can read."""
    if not _SEALED_SECRET.search(text):
        return frozenset()
    plain = _without_sealed(text).split("\n")
    return frozenset(number for number, line in enumerate(text.split("\n"), 1) if line != plain[number - 1])


def _without_sealed(text: str) -> str:
    """A manifest without what only its cluster can read, its lines kept."""
    if not _SEALED_SECRET.search(text):
        return text
    return _SEALED_DATA.sub(lambda match: "\n" * match.group().count("\n"), text)


def _in_password_file(path: str, lines: Sequence[str]) -> Iterator[tuple[int, str]]:
    """The passwords of a file that holds nothing else: `vault_pass.txt`, `openvpn/auth.txt`, `davfs2/secrets`."""
    directory, _, file = path.removesuffix(".tmpl").rpartition("/")
    name = _ATTRIBUTES.sub("", file)
    if _NO_PASSWORD_FILE.search(file) or _NO_PASSWORD_FILE.search(name):
        return
    stem = name.partition(".")[0]
    parent = _ATTRIBUTES.sub("", directory.rpartition("/")[2])
    if not (keys.names_secret(stem) or (stem == "auth" and parent)):
        return
    filled = [(number, line) for number, line in enumerate(lines, 1) if line.strip() and not line.startswith("#")]
    if any(len(line.split()) > _FIELDS or re.search(r"[(){}\[\];|<>`$=]\s|\s[={}<>|&]", line) for _, line in filled):
        return  # a program, a configuration or prose
    if len(filled) == 1 and re.fullmatch(r"[^\s:]{8,}", alone := filled[0][1].strip()):
        if not keys.is_reference(alone):
            yield filled[0][0], alone
        return
    for number, line in filled:
        for field in _FIELD.findall(re.sub(r"\b[a-z]+://\S+", "", line)):
            if keys.looks_made_up(field) or keys.looks_random(field):
                yield number, field


def names_api(name: str) -> bool:
    """Whether a variable of chezmoi's data would hold a key of some service."""
    return keys.words(name)[-1:] in (["api"], ["apikey"], ["key"], ["pass"], ["auth"]) and len(keys.words(name)) > 1


def _by_pattern(rule: str, pattern: re.Pattern[str], text: str, found: _Findings) -> None:
    for match in pattern.finditer(text):
        if not keys.is_reference(match["value"].strip("\"'")):
            found.add_line(rule, text.count("\n", 0, match.start("value")) + 1, match["value"])


def _scan_actions(text: str, found: _Findings) -> None:
    """Literals that a template assigns or falls back to."""
    for start, end in data.actions(text):
        action = text[start:end]
        for match in _IN_ACTION.finditer(action):
            if keys.names_secret(match["key"]) and _is_secret(match["key"], match["value"], quoted=True):
                found.add("literal-in-template", start + match.start("value"), match["value"])
        if _MAKES_DICT.search(action):
            for match in _IN_DICT.finditer(action):
                if keys.names_secret(match["key"]) and _is_secret(match["key"], match["value"], quoted=True):
                    found.add("literal-in-template", start + match.start("value"), match["value"])
        for match in _DEFAULT.finditer(action):
            key, value = match["key"] or match["key2"], match["value"] or match["value2"]
            if keys.names_secret(key) and _is_secret(key, value, quoted=True):
                found.add("literal-in-template", start + match.start(), value)


def _pairs(line: str) -> Iterator[tuple[str, str]]:
    """What stands after a secret's name in one line."""
    at = 0 if not _SECTION.match(line) else len(line)
    while match := _PAIR.search(line, at):
        # From behind the name on: in `a = b = "c"` the second name counts as well.
        at = match.end("key")
        before = line[: match.start()]
        assigned = before.strip() == "$" and "=" in match["sep"]  # as PHP, xonsh and nushell do
        if (before.endswith("$") and not assigned) or before.rfind("${") > before.rfind("}"):
            continue  # the expansion of a variable, and not its assignment
        key = match["key"].strip("\"'").rstrip("]").split("[")[-1].strip("\"'")
        if keys.names_encrypted(key):
            return  # what stands behind it is, whatever it is called in there
        if match["type"] and not _STRING_TAG.match(match["type"]):
            continue  # `!secret name`, `!vault |`: where it is
        if match["key"].startswith("_") and match["sep"].isspace():
            continue  # a call in a shell script
        quoted = match["bare"] is None
        value = next(filter(None, map(match.group, ("double", "single", "nix", "lua", "tick", "bare"))), "")
        if not quoted:
            value = _whole(line, match, value)
        if match["sep"] == ":" and value.startswith("//"):
            continue  # an address; there is a rule for the password in one
        if match["tick"] and not keys.looks_made_up(value):
            continue  # prose about a name
        if key.lstrip("/:").split(":")[-1] in ("_auth", "_authToken", "_password") and not keys.is_reference(value):
            yield "npm-credentials", value
        elif key == "auth" and _is_user_and_password(value):
            yield "docker-auth", value
        elif keys.names_secret(key) and _is_secret(key, value, quoted=quoted):
            yield "literal-after-secret-key", value
        elif keys.names_key(key) and _is_key(value):
            yield "random-after-key", value
    if (
        (words := _WORDS.match(line))
        and not words["key"].startswith("_")
        and keys.names_secret(words["key"])
        and keys.looks_made_up(words["value"])
        and _is_secret(words["key"], words["value"], quoted=True)
    ):
        yield "literal-after-secret-key", words["value"]
    if (
        (alone := _ALONE.fullmatch(line))
        and keys.names_secret(alone["key"])
        and not keys.names_encrypted(alone["key"])
        and _is_for_people(named := keys.words(alone["key"]))
        and named[-1] != "pin"  # digits, or a version
        and keys.looks_chosen(alone["value"])
        and (alone["quote"] or alone["value"].startswith("(") or not keys.is_call(alone["value"]))
        and not _PUBLIC.match(alone["value"])
    ):
        yield "literal-after-secret-key", alone["value"]
    for match in _QUERY.finditer(line):
        key = match["key"]
        if (keys.names_secret(key) or keys.names_key(key) or key.lower() in _QUERY_KEYS) and _is_key(match["value"]):
            yield "key-in-url", match["value"]
    for match in _PROSE.finditer(line):
        if keys.looks_made_up(match["value"]):
            yield "password-in-prose", match["value"]
    for match in _OPTION.finditer(line):
        if keys.names_secret(match["key"]) and _is_secret(match["key"], match["value"], quoted=True):
            yield "password-in-command", match["value"]
    for match in _XML.finditer(line):
        key, value = match["key"] or match["key2"], match["value"] or match["value2"]
        if keys.names_secret(key) and _is_secret(key, value, quoted=True):
            yield "literal-after-secret-key", value


def _pieces(line: str) -> Iterator[str]:
    """A line, or what a very long one consists of: some rules take too long for a whole file in one line."""
    if len(line) <= _LONG_LINE:
        yield line
        return
    start = 0
    while start < len(line):
        end = start + _LONG_LINE
        cut = max(line.rfind(sign, start + 1, end) for sign in ",;}\t ") if end < len(line) else len(line)
        yield line[start : cut + 1 if cut > start else end]
        start = cut + 1 if cut > start else end


def _whole(line: str, match: re.Match[str], value: str) -> str:
    """A value without quotes goes to the end of the line, or to a comment; in a program it ends at a blank."""
    if (
        line[match.end("bare") : match.end("bare") + 1] in (",", ";", "&")
        and not line[match.end("bare") + 1 :].isspace()
    ):
        return value  # one of several, as in the options of a mount
    rest = line[match.start("bare") :]
    text = re.split(r"\s+[#;]", rest, maxsplit=1)[0].strip()
    return value if re.search(r"\s", text) is None or re.match(r"\S+\s+(?:&&|\|\||\||[A-Z_]+=|-)", text) else text


def _is_secret(key: str, value: str, *, quoted: bool) -> bool:
    """Whether what stands after a secret's name is a secret."""
    value = value.strip().rstrip(",;")
    if not quoted and not value.endswith("}") and not keys.is_reference(value):
        # The first of a list, the end of a clause, and what an escaped end of line stands behind.
        value = value.lstrip("[{").rstrip(":`.").partition("\\n")[0]
    if (assigned := _ASSIGNED.fullmatch(value)) and (assigned["value"] or "." in assigned["name"]):
        value = assigned["value"]  # `github.com=…`, `id=…`
    if len(value) < 6 or keys.is_reference(value) or _PUBLIC.match(value) or re.fullmatch(r"[a-z_]+[=.,]", value):
        return False
    if (around := _INTERPOLATION.sub("", value)) != value and not keys.looks_made_up(around):
        return False
    if re.match(r"[a-z][a-z0-9+]*://", value):
        return False  # an address; there is a rule for the password in one
    named = keys.words(key)
    if named[-1:] == ["pin"]:
        return bool(re.fullmatch(r"\d{6,12}", value))  # and no version that something is pinned to
    if named[-1:] == ["tokens"] and value.isdigit():
        return False  # how many
    if named[-2:-1] and named[-2] in _NGINX and named[-1] == "pass":
        return keys.looks_made_up(value) and not value.startswith("unix:")
    if not quoted and (keys.is_call(value) or value.endswith(":*") or re.fullmatch(r"-[A-Za-z-]+", value)):
        return False
    if not _is_for_people(named) and (keys.is_filler(value) or _NO_TOKEN.fullmatch(value)):
        return False
    if "mnemonic" in named and not re.search(r"\s", value):
        return False  # a letter of a menu
    if not quoted and _SHOUTED.fullmatch(value):
        return False  # a constant
    if re.search(r"\s", value):
        # A passphrase, or a sentence about one.
        if {"phrase", "mnemonic"} & set(named):
            return len(value.split()) >= 6
        if not quoted:  # and words about it
            return _is_password(named) and keys.looks_made_up(first := value.split()[0]) and keys.looks_chosen(first)
        if not {"passphrase", "psk", "password"} & set(named):
            return False
        return not re.search(r"(?i)pass|enter|your|please|\?$|:$|%s|\bthe\b", value)
    if set(keys.words(value)) <= set(named) | {
        "password",
        "passwort",
        "token",
        "secret",
        "key",
        "confirm",
        "new",
        "old",
        "did",
        "is",
        "has",
    }:
        return False
    if re.fullmatch(r"[a-z]{6,7}", value) or (_PGP_ID.fullmatch(value) and "signing" in named):
        return False  # a word; the id of a public key
    if re.fullmatch(r"\d{1,3}(?:[_,]\d{3})+", value):
        return False  # a number
    if re.fullmatch(r"(?:0x)?\d+(?:\.\d+)?(?:ms|s|m|h|d)?", value) and len(value) < 8:
        return False
    if not quoted and re.fullmatch(r"[A-Za-z]+(?:[-_.][A-Za-z]+)*", value):
        if value.isalpha() and re.search(r"[A-Z]{2}", value) and re.search(r"[a-z][A-Z]", value):
            return True
        return len(value) >= 8 and _is_password(named)
    if re.fullmatch(r"[a-z]+(?:[-_][a-z]+)+", value) and _is_password(named):
        return len(value) >= 8  # `correct-horse-battery`: what is so called is somebody's
    # The name of an environment variable, or of something: words, and nothing that was made up.
    return not (_SHOUTED.fullmatch(value) or re.fullmatch(r"_*[a-z]+(?:[-_./][a-z]+)+", value))


def _is_for_people(named: Sequence[str]) -> bool:
    if tuple(named[-2:]) in _BY_SERVICES:
        return False
    return bool(_FOR_PEOPLE.intersection(named)) or any(word.endswith(("pass", "password")) for word in named)


def _is_password(named: Sequence[str]) -> bool:
    said = {"password", "passwd", "pass", "pw", "passphrase", "pwd"}
    return any(word in said or word.endswith(("pass", "password")) for word in named)


def _is_key(value: str) -> bool:
    return keys.looks_random(value, least=20) and not (
        keys.is_uuid(value)
        or keys.is_call(value)
        or keys.is_words(value)
        or not re.search(r"\d", value)
        or _PGP_ID.fullmatch(value)
        or _PUBLIC.match(value)
    )


def _might_be_key(value: str) -> bool:
    return not re.search(r"\s", value) and (
        keys.looks_made_up(value)
        or bool(
            len(value) >= 8 and re.search(r"[a-z]", value) and re.search(r"[A-Z]", value) and not keys.is_words(value)
        )
    )


def _is_user_and_password(value: str) -> bool:
    try:
        decoded = base64.b64decode(value, validate=True).decode()
    except (binascii.Error, ValueError):
        return False
    return bool(re.fullmatch(r"[\w.@+-]+:\S{4,}", decoded))
